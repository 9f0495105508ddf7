"""What a scorer gains when it sees only the object: foreground minus whole image, on the same identities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nearid.margins import directed_margins
from nearid.scores.bootstrap import interval
from nearid.scores.correlations import oracle_agreement
from nearid.scores.margins import Columns, count_wins

Difference = tuple[float, tuple[float, float]]
"""A difference and its 95 % interval; NaN where either side has no value."""


def gain_in_ssr(full: Sequence[Columns], foreground: Sequence[Columns], seed: int) -> Difference:
    """Gain in SSR in points, pooled over the sources whose columns are given; rows are the same identities in all.

    Resampling is paired: an identity is drawn with all its sources and both conditions, since what it wins in both says
    nothing about the difference.
    """
    wins = [np.sum([count_wins(directed_margins(columns)) for columns in part], axis=0) for part in (full, foreground)]

    def redraw(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        whole, masked = (part[drawn].sum(0) for part in wins)
        return np.array([_percent(masked) - _percent(whole)])

    count = len(wins[0])
    return float(redraw(np.arange(count))[0]), interval(redraw, count, seed)[0]


def gain_in_agreement(full: Columns, foreground: Columns, seed: int) -> Difference:
    """Gain in M-O; rows are the same part edits in both."""

    def redraw(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        whole, masked = (
            oracle_agreement({name: values[drawn] for name, values in part.items()})[0] for part in (full, foreground)
        )
        return np.array([masked - whole])

    count = len(full["s_12"])
    return float(redraw(np.arange(count))[0]), interval(redraw, count, seed)[0]


def _percent(totals: NDArray[np.int64]) -> float:
    success, _, n, *_ = totals
    return 100 * success / n if n else float("nan")
