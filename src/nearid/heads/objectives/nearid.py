"""The NearID objective: discrimination, ranking, cohesion (paper Eq. 1, 3.2, E.8; docs/losses.md R7, R9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nearid.heads.objectives import Loss
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
class NearIDLoss(Loss):
    """Discrimination + .5 ranking, without cohesion (beta 0), at temperature .07: the paper's loss.

        discrimination = slotmean of [ LSE over Y and Z_i of l(x_i, .) - l(x_i, y_ip) ]     (equation 1)
        ranking        = mean of log(1 + exp( LSE over N_i of l(x_i, .) - l(x_i, z_ik) ))   (equation 2)

    LSE is the log of the sum of exp, l a cosine over the temperature; x anchors, y positives, z distractors, Y all
    positives of the batch, N_i those of other identities, Z_i the row's own distractors (docs/losses.md 2, 4).

    Distractors equal to their anchor are penalised by the first term only:

    >>> x, y = torch.eye(2)[:, None], torch.eye(2)[:, None]
    >>> valid = torch.ones(2, 1, dtype=torch.bool)
    >>> loss = NearIDLoss().parts(x[:, 0], y, x, valid, valid)
    >>> {name: round(value.item(), 4) for name, value in loss.terms.items()}
    {'discrimination': 0.6931, 'ranking': 0.0, 'cohesion': 0.0}

    Args:
        alpha: weight of ranking; 0 to 2 in table 8.
        beta: weight of cohesion; 0 to .3 in table 9.
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
        """See `Loss`."""
        return self.padding == "keep"

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"discrimination": 1.0, "ranking": self.alpha, "cohesion": self.beta}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
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
