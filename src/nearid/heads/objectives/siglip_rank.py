"""SigLIP's pairwise sigmoid loss with the NearID ranking term (paper Table 4; docs/losses.md 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from nearid.heads.objectives import Loss
from nearid.heads.pools import Batch, global_mean
from nearid.heads.ranking import rank_above_others


@dataclass(frozen=True)
class SigLIPRankingLoss(Loss):
    """Binary classification of all anchor-positive pairs of the batch and all own distractors, plus .5 ranking.

        pairs       = mean over (i, y in Y) of BCE( l(x_i, y) - 10, y is row i's own )
        distractors = mean of BCE( l(x_i, z_ik) - 10, 0 )

    BCE is the binary cross-entropy of a logit, l a cosine over .07; ranking is that of `NearIDLoss`. Scale and
    bias are fixed, as in the authors' code (docs/losses.md D14).
    """

    alpha: float = 0.5
    bias: float = -10.0
    temperature: float = 0.07

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"pairs": 1.0, "distractors": 1.0, "ranking": self.alpha}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
        pairs = batch.pool / self.temperature + self.bias
        wrong = F.softplus(torch.where(batch.own_columns, -pairs, pairs))
        mask = batch.global_positive_mask.flatten().expand_as(pairs)
        mistaken = F.softplus(batch.distractor_cosines / self.temperature + self.bias)
        # The bias cancels in the ranking term.
        disorder = rank_above_others(batch, self.temperature)
        return {
            "pairs": global_mean(wrong, mask),
            "distractors": global_mean(mistaken, batch.distractor_mask),
            "ranking": global_mean(disorder, batch.distractor_mask),
        }
