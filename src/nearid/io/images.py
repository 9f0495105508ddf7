"""Images and masks as arrays and as PNG bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nearid.errors import UserError


def encode_png(image: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of a uint8 image [h, w, 3], a grey image [h, w] or a boolean mask [h, w] (255 is object)."""
    pixels = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    buffer = io.BytesIO()
    # Level 1: the pixels are what counts, and level 9 costs ten times the time for a few per cent.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_rgb(source: bytes | Path | str, where: object = "") -> NDArray[np.uint8]:
    """Pixels [h, w, 3] of an encoded image.

    Raises:
        UserError: the bytes are no image or are cut off; `where` names the record.
    """
    return np.asarray(_open(source, where).convert("RGB"))


def decode_mask(source: bytes | Path | str, where: object = "", threshold: int = 0) -> NDArray[np.bool_]:
    """Boolean mask [h, w] of an encoded grey image: `> threshold` is object (spec data.md 1.3).

    Raises:
        UserError: the bytes are no image or are cut off.
    """
    return np.asarray(_open(source, where).convert("L")) > threshold


def _open(source: bytes | Path | str, where: object) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        image.load()
        # Cameras store the turn of a picture beside its pixels.
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError) as error:
        place = where or (source if not isinstance(source, bytes) else "an image")
        # Pillow's own words for it hold an address in memory.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(
            place, f"no readable image ({reason})", "a whole PNG or JPEG", "replace the file, or remove the view"
        ) from error
