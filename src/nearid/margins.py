"""The paper's margin and strict success, used in validation during training and in scores (docs/protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

VIEW_PAIRS = ((0, 1), (0, 2), (1, 2))


def directed_margins(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Margins `[identities, 6]` of the view pairs (0,1), (0,2), (1,2), each in both directions.

    d(i->j) = sim_ij - cross_ii and d(j->i) = sim_ij - cross_jj: two views of one identity against a view and the
    distractor that shares its background. NaN where an image is missing.
    """
    return np.stack([columns[f"sim_{i}{j}"] - columns[f"cross_{k}{k}"] for i, j in VIEW_PAIRS for k in (i, j)], axis=1)


def strict_success(margins: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each identity has a margin, and all that it has are positive; `margins` are `[identities, directions]`.

    Its mean over identities with a margin is the paper's SSR. NaN is no margin; a tie (0) is not positive.
    """
    there = ~np.isnan(margins)
    return ((margins > 0) | ~there).all(axis=1) & there.any(axis=1)
