"""Pictures as the paper stage shows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def fit_square(image: NDArray[np.uint8], size: int, around: str = "white") -> NDArray[np.uint8]:
    """`image` [h, w, 3] or [h, w] in a square of `size`, aspect ratio kept; `around` fills the rest."""
    return np.asarray(ImageOps.pad(Image.fromarray(image), (size, size), Image.Resampling.LANCZOS, color=around))
