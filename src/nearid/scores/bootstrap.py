"""Confidence intervals by resampling identities: how much the numbers would vary with another test set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nearid.io.randomness import keyed_rng

REPLICATES = 1000
LEVEL = 0.95


def interval(
    statistics: Callable[[NDArray[np.int64]], NDArray[np.float64]], n: int, seed: int, replicates: int = REPLICATES
) -> list[tuple[float, float]]:
    """Percentile intervals of several statistics over `n` identities drawn with replacement.

    The draws depend on `seed` and `n` alone, so that all scorers of one test set meet the same resamples.

    Args:
        statistics: gives `[k]` values from the drawn identities' positions `[n]`; NaN where undefined.
        n: number of identities.
        seed: of the run.
        replicates: number of resamples.

    Returns:
        Lower and upper bound of each statistic; NaN where no resample defines it.
    """
    if not n:
        return [(float("nan"), float("nan"))] * len(statistics(np.empty(0, np.int64)))
    rng = keyed_rng("bootstrap", seed, n)
    values = np.stack([statistics(rng.integers(0, n, n)) for _ in range(replicates)])
    tail = 100 * (1 - LEVEL) / 2
    bounds = []
    for column in values.T:
        defined = column[~np.isnan(column)]
        low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
        bounds.append((float(low), float(high)))
    return bounds
