"""One picture from a path, bytes, a PIL image, an array or a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearid.errors import UserError
from nearid.io.images import decode_rgb, to_rgb

SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def open_picture(source: Any) -> NDArray[np.uint8]:
    """Pixels [h, w, 3] of a path, encoded bytes, a PIL image, an array [h, w, 3] or a tensor [3, h, w].

    Floats must be in [0, 1], as generators give them. For files see `nearid.io.images.decode_rgb`.

    Raises:
        UserError: no image, one that is too large, or an array of another shape or type.
    """
    if isinstance(source, (str, Path, bytes)):
        return decode_rgb(source)
    if isinstance(source, Image.Image):
        return np.asarray(to_rgb(source))
    if hasattr(source, "detach"):  # a tensor, without importing torch
        source = source.detach().cpu().float().numpy() if source.is_floating_point() else source.cpu().numpy()
        source = np.moveaxis(source, 0, -1) if source.ndim == 3 else source
    pixels = np.asarray(source)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UserError(
            "an image", f"shape {pixels.shape}", "[h, w, 3], or a tensor [3, h, w]", "give one image at a time"
        )
    if pixels.dtype == np.uint8:
        return pixels
    if not np.issubdtype(pixels.dtype, np.floating):
        raise UserError("an image", f"values of type {pixels.dtype}", "uint8, or floats in [0, 1]", "convert it")
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise UserError("an image", "values outside [0, 1]", "floats in [0, 1], or uint8", "rescale it")
    return np.round(pixels * 255).astype(np.uint8)
