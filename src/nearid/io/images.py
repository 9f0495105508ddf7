"""Images and masks as arrays and as PNG bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from nearid.errors import UserError

# A file of a few kilobytes can claim any size. The largest cameras make 60 megapixels.
MAX_PIXELS = 80_000_000


def encode_png(image: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of a uint8 image [h, w, 3], a grey image [h, w] or a boolean mask [h, w] (255 is object)."""
    pixels = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    buffer = io.BytesIO()
    # Level 1: the pixels are what counts, and level 9 costs ten times the time for a few per cent.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_rgb(source: bytes | Path | str, where: object = "") -> NDArray[np.uint8]:
    """Pixels [h, w, 3] of an encoded image, of any mode; of an animated one the first frame.

    Raises:
        UserError: the bytes are no image, are cut off, or hold more than `MAX_PIXELS`; `where` names the record.
    """
    return np.asarray(to_rgb(_open(source, where)))


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` as RGB: 16 bits are reduced to 8, and what is transparent becomes white."""
    if image.mode.startswith("I"):
        # Pillow would clip: nearly every 16-bit picture would come out white.
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def decode_mask(source: bytes | Path | str, where: object = "", threshold: int = 0) -> NDArray[np.bool_]:
    """Boolean mask [h, w] of an encoded grey image: `> threshold` is object (spec data.md 1.3).

    Raises:
        UserError: the bytes are no image or are cut off.
    """
    return np.asarray(_open(source, where).convert("L")) > threshold


def decode_grey(source: bytes | Path | str, where: object = "") -> NDArray[np.uint8]:
    """Grey values [h, w] of an encoded image.

    Raises:
        UserError: the bytes are no image or are cut off.
    """
    return np.asarray(_open(source, where).convert("L"))


def _open(source: bytes | Path | str, where: object) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{image.width} x {image.height} px; {MAX_PIXELS:,} px are allowed")
        image.load()
        # Cameras store the turn of a picture beside its pixels.
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        place = where or (source if not isinstance(source, bytes) else "an image")
        # Pillow's own words for it hold an address in memory.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise UserError(
            place, f"no readable image ({reason})", "a whole PNG or JPEG", "replace the file, or remove the view"
        ) from error
