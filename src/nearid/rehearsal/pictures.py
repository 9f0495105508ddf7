"""Pictures in place of photographs: a striped body over a noisy background, with its mask."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearid.io.randomness import keyed_rng

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def draw_view(identity: str, view: int, side: int, instance: int = 0) -> tuple[Pixels, Mask]:
    """View `[side, side, 3]` of an identity and its mask `[side, side]`.

    The background depends on identity and view, the body on identity and `instance`: another instance is a
    distractor over the same background.
    """
    place, body = keyed_rng("background", identity, view), keyed_rng("body", identity, instance)
    y, x = np.mgrid[:side, :side] - side / 2 + place.uniform(-0.08, 0.08, (2, 1, 1)) * side
    radius = side * body.uniform(0.25, 0.35)
    mask = np.hypot(x, y) < radius if body.random() < 0.5 else np.maximum(abs(x), abs(y)) < radius
    image = place.integers(0, 90, 3) + place.integers(0, 30, (side, side, 3))
    stripes = np.where((np.arange(side) * 16 // side) % body.integers(2, 5), 255, 150)
    image[mask] = (stripes[:, None, None] * body.uniform(0.4, 1, 3)).repeat(side, axis=1)[mask]
    return image.astype(np.uint8), mask


def to_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """A JPEG, the form of the photographs in the releases."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
