"""Symmetric InfoNCE with the row's own distractors as negatives (paper Table 4, "+ R neg"; docs/losses.md R1-neg)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nearid.heads.objectives import Loss
from nearid.heads.objectives.infonce import contrast
from nearid.heads.pools import Batch


@dataclass(frozen=True)
class InfoNCEDistractorsLoss(Loss):
    """As `InfoNCELoss`, with each row's valid distractors in both denominators."""

    temperature: float = 0.07

    def weights(self) -> dict[str, float]:
        """See `Loss`."""
        return {"contrast": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Loss`."""
        return {"contrast": contrast(batch, self.temperature, distractors=True)}
