"""Symmetric InfoNCE and the oracle ranking of edits (paper Table 4, "+ Oracle"; docs/losses.md R2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nearid.heads.objectives import Loss
from nearid.heads.objectives.infonce import contrast
from nearid.heads.pools import Batch
from nearid.heads.ranking import OracleScale, rank_by_severity


@dataclass(frozen=True)
class InfoNCEOracleLoss(Loss):
    """As `InfoNCELoss`, plus .5 RankNet over edits of known severity, the only use of distractors.

        oracle = mean of log(1 + exp( l(x_i, z_im) - l(x_i, z_ik) + .05 )) over pairs whose edit m is the severer

    Weight and margin are not published (docs/losses.md D14); `oracle_scale` is D8.
    """

    oracle_weight: float = 0.5
    oracle_margin: float = 0.05
    oracle_scale: OracleScale = "logit"
    temperature: float = 0.07

    reads_severity = True

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"contrast": 1.0, "oracle": self.oracle_weight}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
        return {
            "contrast": contrast(batch, self.temperature),
            "oracle": rank_by_severity(batch, self.temperature, self.oracle_margin, self.oracle_scale),
        }
