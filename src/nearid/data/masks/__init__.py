"""Mask estimators for pictures that come without masks; one module per member, found by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nearid.config.schema.dataset import ImageFolder


class Estimator(Protocol):
    """Finds the one object that a picture shows.

    A member is `nearid.data.masks.<name>.Estimator(options)` with the options of its dataset kind.
    """

    def __init__(self, options: ImageFolder) -> None: ...

    def estimate(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mask `[h, w]` of the object in `image` `[h, w, 3]`; all False where none is found. Same input, same mask."""
        ...
