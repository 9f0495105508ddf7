"""Augmentation of training images: flip, colour jitter, affine; drawn as numbers, then applied (docs/protocol.md 3).

Drawing is separate from applying, so that a draw can be keyed, recorded and compared: equal parameters, equal pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from nearid.config.variants import MIRRORED, parse
from nearid.io.randomness import keyed_rng

PARAMETERS = ("flip", "brightness", "contrast", "saturation", "hue", "order", "right", "down", "scale")
"""What a draw consists of, one number each; shifts as fractions of the side, hue as a fraction of the circle."""
CHANCES = ("flip", "jitter", "affine")
DRAWS = len(CHANCES) + len(PARAMETERS) - 1

# Ranges of the authors' code.
JITTER, HUE, SHIFT, SCALE = 0.2, 0.05, 0.1, 0.1
UNCHANGED = np.array([0, 1, 1, 1, 0, 0, 0, 0, 1], np.float32)
FLIPPED = np.array([1, 1, 1, 1, 0, 0, 0, 0, 1], np.float32)
_ORDERS = tuple(permutations(range(4)))


def draw(uniform: NDArray[np.float64], chances: Mapping[str, float]) -> NDArray[np.float32]:
    """Parameters [..., 9] (`PARAMETERS`) from numbers [..., 11] in [0, 1).

    Args:
        uniform: the first three decide whether an image is flipped, jittered, moved; the others how.
        chances: probability of each of `CHANCES`.
    """
    flip, jitter, affine = (uniform[..., place] < chances[name] for place, name in enumerate(CHANCES))
    spread = 2 * uniform[..., len(CHANCES) :] - 1
    drawn = np.empty((*uniform.shape[:-1], len(PARAMETERS)))
    drawn[..., 0] = True
    drawn[..., 1:4] = 1 + JITTER * spread[..., 0:3]
    drawn[..., 4] = HUE * spread[..., 3]
    drawn[..., 5] = (uniform[..., len(CHANCES) + 4] * len(_ORDERS)).astype(int)
    drawn[..., 6:8] = SHIFT * spread[..., 5:7]
    drawn[..., 8] = 1 + SCALE * spread[..., 7]
    happens = np.stack([flip, *[jitter] * 5, *[affine] * 3], axis=-1)
    return np.where(happens, drawn, UNCHANGED).astype(np.float32)


def parameters_of(variant: str, augmentations: Mapping[str, Mapping[str, float]], *key: object) -> NDArray[np.float32]:
    """Parameters [9] of an extracted `variant` (`nearid.config.variants`) of the image that `key` names.

    Args:
        variant: its name.
        augmentations: augmentation id -> the chances that its variants are drawn with.
        key: collection, id, slot. With the variant's masking and number they key the draw, which so depends neither on
            shards and their order nor on the number of draws.
    """
    masking, kind, number = parse(variant)
    if kind in ("", MIRRORED):
        return FLIPPED if kind else UNCHANGED
    return draw(keyed_rng("augmentation", *key, masking, number).random(DRAWS), augmentations[kind])


def describe(parameters: NDArray[np.float32]) -> dict[str, int]:
    """How many of the images of `parameters` [n, 9] are flipped, jittered, moved."""
    changed = parameters != UNCHANGED
    parts = {"flipped": changed[:, :1], "jittered": changed[:, 1:5], "moved": changed[:, 6:]}
    return {name: int(part.any(axis=1).sum()) for name, part in parts.items()}


def augment(image: NDArray[np.uint8], parameters: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`image` [h, w, 3] flipped, then jittered, then moved, as `parameters` [9] say (`PARAMETERS`).

    Colours change as in torchvision's PIL backend; what a shift or a smaller scale uncovers is black.
    """
    if np.array_equal(parameters, UNCHANGED):
        return image
    flip, brightness, contrast, saturation, hue, order, right, down, scale = parameters.tolist()
    picture = Image.fromarray(image)
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    steps: tuple[Callable[[Image.Image], Image.Image], ...] = (
        lambda of: ImageEnhance.Brightness(of).enhance(brightness),
        lambda of: ImageEnhance.Contrast(of).enhance(contrast),
        lambda of: ImageEnhance.Color(of).enhance(saturation),
        lambda of: _turn_hue(of, hue),
    )
    if not np.array_equal(parameters[1:5], UNCHANGED[1:5]):
        for step in _ORDERS[int(order)]:
            picture = steps[step](picture)
    if (right, down, scale) != (0, 0, 1):
        width, height = picture.size
        # PIL takes the inverse map, from the result to the image, which is scaled about its centre, then shifted.
        across = ((1 - 1 / scale) * width / 2 - round(right * width) / scale, 1 / scale)
        along = ((1 - 1 / scale) * height / 2 - round(down * height) / scale, 1 / scale)
        back = (across[1], 0, across[0], 0, along[1], along[0])
        picture = picture.transform(picture.size, Image.Transform.AFFINE, back, Image.Resampling.NEAREST)
    return np.asarray(picture)


def _turn_hue(picture: Image.Image, turn: float) -> Image.Image:
    shift = round(turn * 255)
    if shift == 0:
        return picture
    hue, *others = picture.convert("HSV").split()
    return Image.merge("HSV", [hue.point(lambda value: (value + shift) % 256), *others]).convert("RGB")
