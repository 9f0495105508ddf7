"""Similarity from dense correspondences: the share of semantic matches that also look alike (docs/protocol.md 4.5)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SEMANTIC_THRESHOLD = 0.6
VISUAL_THRESHOLD = 0.6


def match_share(
    targets: NDArray[np.float64],
    semantic: NDArray[np.float64],
    visual: NDArray[np.float64],
    semantic_threshold: float = SEMANTIC_THRESHOLD,
    visual_threshold: float = VISUAL_THRESHOLD,
) -> float:
    """VSM: the share of points with a good visual match among those with a good semantic match.

    If several points match one target, only the best of them counts.

    Args:
        targets: matched point (x, y) of each source point, `[points, 2]`.
        semantic: score of that match, `[points]`.
        visual: score of the point's best visual match, `[points]`.
        semantic_threshold: a match is good above it.
        visual_threshold: a visual match is good above it.

    Returns:
        The share in [0, 1]; NaN without a good semantic match.
    """
    best: dict[tuple[int, int], int] = {}
    for point in np.flatnonzero(semantic > semantic_threshold):
        place = int(targets[point, 0]), int(targets[point, 1])
        if place not in best or semantic[point] > semantic[best[place]]:
            best[place] = int(point)
    if not best:
        return math.nan
    return float((visual[list(best.values())] > visual_threshold).mean())
