"""Agreement of scores with a reference: correlations and their Fisher-z mean (docs/protocol.md 2)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nearid.scores.margins import Columns

SAME_BACKGROUND = (("s_11e", "oracle_1"), ("s_22e", "oracle_2"))
EDIT_PAIRS = (*SAME_BACKGROUND, ("s_12e", "oracle_2"), ("s_21e", "oracle_1"))
"""Each similarity of MTG with the oracle that it is correlated with: the one of its edited image."""


def pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Pearson's r over the entries where both are finite; 0 if it is undefined (a constant, fewer than two)."""
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 2 or not np.ptp(x) or not np.ptp(y):
        return 0.0
    # np.corrcoef rounds the last digit differently, and tables in CSV show all digits.
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def fisher_mean(correlations: Iterable[float], limit: float = 0.999) -> float:
    """Mean of `correlations` by Fisher z, each clipped to +-`limit` so that a perfect one stays finite."""
    clipped = np.clip(np.asarray(list(correlations), np.float64), -limit, limit)
    return float(np.tanh(np.arctanh(clipped).mean()))


def edit_correlations(columns: Columns) -> dict[str, float]:
    """Pearson's r between similarity and oracle, one per pair type of `EDIT_PAIRS`, keyed by the similarity."""
    return {similarity: pearson(columns[similarity], columns[oracle]) for similarity, oracle in EDIT_PAIRS}


def oracle_agreement(columns: Columns) -> tuple[float, float]:
    """The paper's M-O (all four pair types) and M-O pair (the two that share a background) of MTG."""
    r = edit_correlations(columns)
    return fisher_mean(r.values()), fisher_mean(r[similarity] for similarity, _ in SAME_BACKGROUND)
