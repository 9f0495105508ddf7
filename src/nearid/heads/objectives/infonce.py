"""Symmetric InfoNCE with one positive per row (paper Table 4, first trained row; docs/losses.md R1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nearid.heads.objectives import Loss
from nearid.heads.pools import Batch, gather, row_mean


@dataclass(frozen=True)
class InfoNCELoss(Loss):
    """Mean of the anchor -> positive and positive -> anchor losses over the picked positives w; no distractors.

        contrast = 1/2 mean of [ LSE_j l(x_i, w_j) - l(x_i, w_i) ] + 1/2 mean of [ LSE_j l(w_i, x_j) - l(w_i, x_i) ]

    l is a cosine over the temperature, .07; LSE the log of the sum of exp.
    """

    temperature: float = 0.07

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"contrast": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
        return {"contrast": contrast(batch, self.temperature)}


def contrast(batch: Batch, temperature: float, distractors: bool = False) -> Tensor:
    """The symmetric loss; `distractors` adds each row's own valid ones as columns of both directions (R1-neg)."""
    mask = batch.distractor_mask if distractors else torch.zeros_like(batch.distractor_mask)
    own = (batch.anchor * batch.picked).sum(1) / temperature
    rows = torch.arange(len(batch.global_positive_mask), device=own.device)
    others = batch.copies & (rows != batch.own_rows[:, None])

    def direction(queries: Tensor, targets: Tensor) -> Tensor:
        columns = (queries @ gather(targets).T / temperature).masked_fill(others, -torch.inf)
        extra = torch.einsum("bd,bkd->bk", queries, batch.distractors) / temperature
        return torch.cat([columns, extra.masked_fill(~mask, -torch.inf)], 1).logsumexp(1) - own

    return row_mean((direction(batch.anchor, batch.picked) + direction(batch.picked, batch.anchor)) / 2)
