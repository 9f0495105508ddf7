"""Confidence intervals by resampling identities: how much the numbers would vary with another test set."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nearid.io.randomness import keyed_rng

REPLICATES = 1000
LEVEL = 0.95


def interval(
    statistics: Callable[[NDArray[np.int64]], NDArray[np.float64]], n: int, seed: int, replicates: int = REPLICATES
) -> list[tuple[float, float]]:
    """Percentile intervals of several statistics over `n` identities drawn with replacement.

    The draws depend on `seed` and `n` alone, so that all scorers of one test set get the same resamples.

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
    return _bound(np.stack([statistics(drawn) for drawn in _draw(n, seed, replicates)]))


def interval_of_sums(
    statistics: Callable[[NDArray[np.int64]], NDArray[np.float64]], counts: NDArray[np.int64], seed: int
) -> list[tuple[float, float]]:
    """The same for statistics that depend only on sums of integers over the drawn identities: all resamples at once.

    Args:
        statistics: gives `[resamples, k]` values from the columns' sums `[resamples, columns]`; NaN where undefined.
        counts: what is summed `[identities, columns]`.
        seed: of the run.

    Returns:
        Lower and upper bound of each statistic; NaN where no resample defines it.
    """
    if not len(counts):
        return [(float("nan"), float("nan"))] * statistics(np.zeros((1, counts.shape[1]), np.int64)).shape[1]
    return _bound(statistics(_weigh(len(counts), seed, REPLICATES) @ counts))


@lru_cache(maxsize=2)
def _draw(n: int, seed: int, replicates: int) -> NDArray[np.int64]:
    # [replicates, n]
    rng = keyed_rng("bootstrap", seed, n)
    return np.stack([rng.integers(0, n, n) for _ in range(replicates)])


@lru_cache(maxsize=2)
def _weigh(n: int, seed: int, replicates: int) -> NDArray[np.int64]:
    # How often each identity is in each resample [replicates, n].
    return np.stack([np.bincount(drawn, minlength=n) for drawn in _draw(n, seed, replicates)])


def _bound(values: NDArray[np.float64]) -> list[tuple[float, float]]:
    tail = 100 * (1 - LEVEL) / 2
    bounds = []
    for column in values.T:
        defined = column[~np.isnan(column)]
        low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
        bounds.append((float(low), float(high)))
    return bounds
