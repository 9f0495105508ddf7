"""Masks as people and their tools save them: which of their pixels are the object."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LABELS = 16
"""A grey mask with smaller values only is a label map, as segmentation tools save it: 0 is the background."""
# A mask with more of its border, or more or less of the picture, than these shares gives a warning.
_BORDER, _NEARLY_ALL, _NEXT_TO_NOTHING = 0.8, 0.98, 0.0005


def find_object(image: Image.Image) -> NDArray[np.bool_]:
    """The object [h, w] of a mask in any mode.

    If the alpha channel varies, it is the mask. In a colour palette, entry 0 is the background. Of two values the
    lighter is the object; of a few small ones, all but 0; of many, those above the middle (soft edges, JPEG).
    """
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < alpha.max():
            return alpha > 127
    if image.mode == "P" and not _is_grey(image):
        return np.asarray(image) > 0
    values = _to_values(image)
    low, high = values.min(), values.max()
    if low == high:
        return values > 0
    if high < LABELS and low == 0:
        return values > 0
    return values > (float(low) + float(high)) / 2


def doubt(mask: NDArray[np.bool_]) -> str:
    """Why a mask looks wrong; empty if it does not."""
    share = float(mask.mean())
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if share <= _NEXT_TO_NOTHING:
        return f"the mask covers {share:.2%} of the picture"
    if share >= _NEARLY_ALL:
        return f"the mask covers {share:.1%} of the picture"
    if float(border.mean()) > _BORDER:
        return f"the mask looks inverted: {border.mean():.0%} of its border is object"
    return ""


def _is_grey(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    used = palette[np.unique(np.asarray(image)).clip(0, max(0, len(palette) - 1))]
    return bool((used == used[:, :1]).all())


def _to_values(image: Image.Image) -> NDArray[Any]:
    """Values [h, w] of an image without palette, in its own range; of a coloured one, the largest of its channels."""
    if image.mode in ("1", "P", "LA", "PA"):
        image = image.convert("L")
    elif image.mode not in ("L", "F") and not image.mode.startswith("I"):
        image = image.convert("RGB")
    values = np.asarray(image)
    return values if values.ndim == 2 else values.max(axis=2)
