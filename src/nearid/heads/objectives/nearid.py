"""The NearID objective: discrimination, ranking, cohesion (paper Eq. 1, 3.2, E.8; docs/losses.md R7, R9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nearid.heads.objectives import Terms
from nearid.heads.pools import (
    Batch,
    gather_constant,
    global_mean,
    masked_logsumexp,
    normalise,
    row_mean,
    slot_mean,
)
from nearid.heads.ranking import rank_above_others


@dataclass(frozen=True)
class Objective(Terms):
    """Discrimination + `alpha` * ranking + `beta` * cohesion.

    The other arguments choose where paper and authors' code differ (docs/losses.md 5); defaults are the paper's form.

    Args:
        padding: D5, `keep` leaves padding slots in the pools as the authors' code does.
        ranking: D6, `pairs` averages over all valid (row, distractor) pairs, `slots` per slot first.
        cohesion: D7, `anchors` divides by all rows, `views` by the number of valid positives.
    """

    alpha: float = 0.5
    beta: float = 0.0
    temperature: float = 0.07
    padding: Literal["exclude", "keep"] = "exclude"
    ranking: Literal["pairs", "slots"] = "pairs"
    cohesion: Literal["anchors", "views"] = "anchors"

    @property
    def reads_padding(self) -> bool:  # type: ignore[override]
        """See `Terms`."""
        return self.padding == "keep"

    def weights(self) -> dict[str, float]:
        """See `Terms`."""
        return {"discrimination": 1.0, "ranking": self.alpha, "cohesion": self.beta}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Terms`."""
        pool_mask = batch.global_positive_mask.flatten().expand(len(batch.anchor), -1)
        negatives, distractor_mask = batch.negatives, batch.distractor_mask
        if self.padding == "keep":
            pool_mask, distractor_mask = torch.ones_like(pool_mask), torch.ones_like(distractor_mask)
            negatives = ~batch.own_columns
        pool = batch.pool / self.temperature
        distractors = batch.distractor_cosines / self.temperature

        denominator = masked_logsumexp(torch.cat([pool, distractors], 1), torch.cat([pool_mask, distractor_mask], 1))
        surprise = denominator[:, None] - batch.own_cosines / self.temperature
        disorder = rank_above_others(batch, self.temperature, negatives)
        return {
            "discrimination": slot_mean(surprise, batch.positive_mask, batch.global_positive_mask),
            "ranking": self._reduce_ranking(disorder, batch),
            "cohesion": self._spread(batch),
        }

    def _reduce_ranking(self, disorder: Tensor, batch: Batch) -> Tensor:
        if self.ranking == "slots":
            return slot_mean(disorder, batch.distractor_mask, gather_constant(batch.distractor_mask))
        return global_mean(disorder, batch.distractor_mask)

    def _spread(self, batch: Batch) -> Tensor:
        mask = batch.positive_mask
        views = mask.sum(1)
        prototype = normalise((batch.positives * mask[..., None]).sum(1))
        distance = 1.0 - torch.einsum("bpd,bd->bp", batch.positives, prototype)
        eligible = mask & (views >= 2)[:, None]
        if self.cohesion == "views":
            return global_mean(distance.masked_fill(~eligible, 0.0), mask)
        per_anchor = distance.masked_fill(~eligible, 0.0).sum(1) / views.clamp(min=1)
        return row_mean(per_anchor)
