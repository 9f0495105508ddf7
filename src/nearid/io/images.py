"""Images and masks as arrays and as PNG bytes: the one place that opens pictures.

Pictures come from anywhere. So only a fixed list of formats is opened (for an EPS Pillow would start Ghostscript,
whatever the file's name), declared sizes are bounded before memory is allocated, and any problem with a picture becomes
one kind of error, `ImageError`, that names it.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from nearid.errors import UserError
from nearid.io.masks import doubt, find_object
from nearid.io.metadata import count_scans, strip_metadata

logger = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
"""Pillow's names of the formats that are opened. Each is decoded in this process, by a library inside Pillow."""
# A file of a few kilobytes can claim any size. The largest cameras make 60 megapixels.
MAX_PIXELS = 80_000_000
# The most bytes that so many pixels take uncompressed, at 16 bits per channel.
MAX_BYTES = 6 * MAX_PIXELS
# A scan of a JPEG takes a few bytes in the file, and as much time as all pixels. Cameras write one, programs ten.
MAX_SCANNED = 64 * MAX_PIXELS
# Pixels that are converted at a time: full copies of a large picture would take several times its size.
STRIP_PIXELS = 4_000_000
# The most that a model is given of one picture: a batch of 32 such takes 800 MB.
MAX_INPUT_PIXELS = 2_000_000
# For larger ones a processor of transformers allocates a gigabyte of copies.
LARGE_PIXELS = 20_000_000

_SIDES = ("height", "width", "shortest_edge", "longest_edge")  # of an image processor
_TIFF_TILE = (322, 323)  # width and height of a tile, for each of which memory is allocated
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(np.swapaxes(pixels, 0, 1), 2),
    8: lambda pixels: np.rot90(pixels, 1),
}
"""How to turn a picture upright, by its orientation in EXIF."""


_LARGE = threading.Lock()


class ImageError(UserError):
    """A picture that cannot be read. Callers with several continue with the others, and report this one."""


class UnpreparedError(ImageError):
    """A picture that a model's image processor cannot handle, or makes too large; `place`: its index in the batch."""

    def __init__(self, where: object, found: str, expected: str, action: str, place: int = 0) -> None:
        super().__init__(where, found, expected, action)
        self.place = place


@contextmanager
def naming_pictures(name: Callable[[int], object]) -> Iterator[None]:
    """Add a picture's name to the error if an image processor cannot process one of a batch.

    Args:
        name: maps the index in the batch to the name that people know.

    Raises:
        UnpreparedError: the one raised in the `with` block, with that name.
    """
    try:
        yield
    except UnpreparedError as error:
        where = f"{name(error.place)}, {error.where}"
        raise UnpreparedError(where, error.found, error.expected, error.action, error.place) from error


def prepare_picture(processor: Any, image: Any, place: int = 0, **options: Any) -> Any:
    """Pixels `[1, 3, h, w]`, a tensor, that a model's image `processor` makes from one `image`.

    Raises:
        UnpreparedError: it fails, or gives more than `MAX_INPUT_PIXELS`; `place` is the index in the batch.
    """
    remedy = (
        "set `size`, `do_resize` and `do_center_crop` in the model's preprocessor_config.json, or change the picture"
    )
    asked = _asked_pixels(processor, image)
    if asked > LARGE_PIXELS:
        found = f"its image processor makes {asked:,} px of this picture"
        raise UnpreparedError("the model", found, f"at most {LARGE_PIXELS:,} px", remedy, place)
    try:
        pixels = processor(image, return_tensors="pt", **options)["pixel_values"]
        *_, height, width = pixels.shape
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        found = f"its image processor cannot take it ({_reason(error)})"
        raise UnpreparedError(
            "the model", found, "a picture as its image processor wants them", remedy, place
        ) from error
    if height * width > MAX_INPUT_PIXELS:
        found = f"its image processor gives {width} x {height} px"
        raise UnpreparedError("the model", found, f"at most {MAX_INPUT_PIXELS:,} px", remedy, place)
    return pixels


def _asked_pixels(processor: Any, image: Any) -> int:
    """The most pixels that `processor` would make from `image` in any of its steps, according to its settings."""
    shape = (image.height, image.width) if isinstance(image, Image.Image) else np.shape(image)[:2]
    short, long = max(1, min(shape)), max(shape)
    most = 0.0
    for name in ("size", "crop_size", "pad_size"):
        size = getattr(processor, name, None) or {}
        # A mapping or a class of transformers, depending on its version.
        height, width, shortest, longest = (
            (size.get(key) if isinstance(size, Mapping) else getattr(size, key, None)) or 0 for key in _SIDES
        )
        most = max(most, height * width, 0 if longest else shortest**2 * long / short)
    return int(most)


def encode_png(image: NDArray[np.uint8] | NDArray[np.bool_]) -> bytes:
    """PNG bytes of a uint8 image [h, w, 3], a grey image [h, w] or a boolean mask [h, w] (255 is object)."""
    pixels = image.astype(np.uint8) * 255 if image.dtype == np.bool_ else image
    buffer = io.BytesIO()
    # Level 1, since level 9 takes ten times as long for a few per cent.
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_rgb(source: bytes | Path | str, where: object = "") -> NDArray[np.uint8]:
    """Pixels [h, w, 3] of an encoded image in any mode, upright; of an animated one, the first frame.

    Unusual text, profiles and EXIF do not matter as long as the pixels are complete.

    Raises:
        ImageError: it is in no format of `FORMATS`, cut off, or has more than `MAX_PIXELS`; `where` names the record.
    """
    return _decode(source, where, to_rgb)


@contextmanager
def one_large_picture(source: object) -> Iterator[None]:
    """Decode and prepare `source` in this context: large pictures wait for each other, whatever the number of threads.

    Args:
        source: an encoded image or its path; anything else is in memory already and does not wait.
    """
    with _LARGE if isinstance(source, bytes | Path | str) and _is_large(source) else nullcontext():
        yield


def _is_large(source: bytes | Path | str) -> bool:
    # Any problem with it is reported when it is decoded.
    with suppress(Exception):
        content: Any = io.BytesIO(source) if isinstance(source, bytes) else _check_file(Path(source))
        with Image.open(content, formats=FORMATS) as image:
            return image.width * image.height > LARGE_PIXELS
    return False


def to_rgb(image: Image.Image) -> Image.Image:
    """`image` as RGB: 16 bits are reduced to 8, and transparent parts become white."""
    if image.mode.startswith("I"):
        # Pillow would clip the values: nearly every 16-bit picture would become white.
        image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def decode_mask(source: bytes | Path | str, where: object = "") -> NDArray[np.bool_]:
    """The object [h, w] of a mask that a person or a tool saved; see `nearid.io.masks.find_object`.

    A mask that looks wrong (inverted, nearly everything or nearly nothing) gives a warning, and is used.

    Raises:
        ImageError: as `decode_rgb`.
    """
    # Not in strips: which values are object depends on those of the whole mask.
    mask = _decode(source, where, lambda image: Image.fromarray(find_object(image)), strip_pixels=MAX_PIXELS) > 0
    if reason := doubt(mask):
        place = where or (source if not isinstance(source, bytes) else "a mask")
        logger.warning("%s: %s; look at it", place, reason)
    return mask


def decode_stored_mask(source: bytes | Path | str, where: object = "", threshold: int = 0) -> NDArray[np.bool_]:
    """The object [h, w] of a mask in a data set that this package, SynCD or the authors wrote: values `> threshold`.

    Raises:
        ImageError: as `decode_rgb`.
    """
    return decode_grey(source, where) > threshold


def decode_grey(source: bytes | Path | str, where: object = "") -> NDArray[np.uint8]:
    """Grey values [h, w] of an encoded image, upright.

    Raises:
        ImageError: as `decode_rgb`.
    """
    return _decode(source, where, lambda image: image.convert("L"))


def _decode(
    source: bytes | Path | str,
    where: object,
    convert: Callable[[Image.Image], Image.Image],
    strip_pixels: int = STRIP_PIXELS,
) -> NDArray[np.uint8]:
    place = where or (source if not isinstance(source, bytes) else "an image")
    # For damaged files Pillow raises a dozen kinds of errors, struct.error and KeyError among them.
    try:
        content = source if isinstance(source, bytes) else _check_file(Path(source)).read_bytes()
        try:
            return _to_array(content, convert, strip_pixels)
        except Exception:
            for keep_exif in (True, False):
                stripped = strip_metadata(content, keep_exif)
                if stripped != content:
                    with suppress(Exception):
                        return _to_array(stripped, convert, strip_pixels)
            raise
    except Exception as error:
        raise ImageError(
            place,
            f"no readable image ({_reason(error)})",
            f"a whole picture: {', '.join(FORMATS)}",
            "replace the file, or remove the view",
        ) from error


def _check_file(path: Path) -> Path:
    # Opening anything else may block for ever, e.g. a named pipe.
    if path.exists() and not path.is_file():
        raise OSError("not a file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise OSError(f"{size:,} bytes; {MAX_BYTES:,} are allowed")
    return path


def _to_array(content: bytes, convert: Callable[[Image.Image], Image.Image], strip_pixels: int) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _check_size(image)
        _check_scans(image, content)
        image.load()
        width, height = image.size
        rows = max(1, strip_pixels // width)
        if rows >= height:
            pixels = np.asarray(convert(image))
        else:
            starts = range(0, height, rows)
            strips = (image.crop((0, top, width, min(top + rows, height))) for top in starts)
            first = np.asarray(convert(next(strips)))
            pixels = np.empty((height, *first.shape[1:]), np.uint8)
            pixels[: len(first)] = first
            for top, strip in zip(starts[1:], strips, strict=True):
                pixels[top : top + rows] = np.asarray(convert(strip))
        turn = _TURNS.get(_read_orientation(image))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _check_size(image: Image.Image) -> None:
    sizes = [image.size]
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        sizes.append((int(tags.get(_TIFF_TILE[0], 0)), int(tags.get(_TIFF_TILE[1], 0))))
    for width, height in sizes:
        if width * height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{width} x {height} px; {MAX_PIXELS:,} px are allowed")


def _check_scans(image: Image.Image, content: bytes) -> None:
    if image.format == "TIFF":
        # Strips may share their bytes, so that the pixels of each strip say nothing.
        scans = content.count(b"\xff\xda") if image.info.get("compression") in ("jpeg", "tiff_jpeg") else 1
    else:
        scans = count_scans(content) if image.format in ("JPEG", "MPO") else 1
    if scans * image.width * image.height > MAX_SCANNED:
        raise OSError(f"{scans:,} scans of {image.width} x {image.height} px; save it as PNG")


def _read_orientation(image: Image.Image) -> int:
    """The orientation that a camera stored beside the pixels; 1 (upright) if it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(orientation) if orientation in _TURNS else 1
    except Exception:
        return 1


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "unknown format"  # Pillow's own message contains a memory address
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
