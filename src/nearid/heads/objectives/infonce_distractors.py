"""Symmetric InfoNCE with the row's own distractors as negatives (paper Table 4, "+ R neg"; docs/losses.md R1-neg)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from nearid.heads.objectives import Terms
from nearid.heads.objectives.infonce import contrast
from nearid.heads.pools import Batch


@dataclass(frozen=True)
class Objective(Terms):
    """As `infonce`, with each row's valid distractors in both denominators."""

    temperature: float = 0.07

    def weights(self) -> dict[str, float]:
        """See `Terms`."""
        return {"contrast": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """See `Terms`."""
        return {"contrast": contrast(batch, self.temperature, distractors=True)}
