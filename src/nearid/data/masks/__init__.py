"""Mask estimators for pictures without masks: one module each, found by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nearid.config.schema.dataset import ImageFolder


class Estimator(Protocol):
    """Finds the one object that a picture shows.

    One is made by `nearid.data.masks.<name>.Estimator(options)`, with the options of the data set.
    """

    def __init__(self, options: ImageFolder) -> None: ...

    def estimate(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mask `[h, w]` of the object in `image` `[h, w, 3]`; all False if none is found. Must be deterministic."""
        ...
