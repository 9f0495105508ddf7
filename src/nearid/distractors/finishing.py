"""From a painted frame to a distractor: checked, resized to the view's size, pasted back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearid.distractors.protocol import PaintError, Target

if TYPE_CHECKING:
    from nearid.config.settings.distractors import Source

_BLACK = 4
_LEAST_CHANGE = 2.0


def finish(painted: NDArray[Any], target: Target, source: Source[Any]) -> NDArray[np.uint8]:
    """A painted frame resized to the view's size (Lanczos), then blurred and pasted back as the source demands.

    Raises:
        PaintError: the frame has NaN, is black, or hardly differs from the view inside the mask.
    """
    if not np.isfinite(painted).all():
        raise PaintError("the frame has NaN or infinite values")
    if painted.max() <= _BLACK:
        raise PaintError("the frame is black")
    image = painted.astype(np.uint8)
    height, width = target.mask.shape
    if image.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    if source.blur_sigma > 0:
        image = cv2.GaussianBlur(image, (0, 0), source.blur_sigma)
    if source.paste_back:
        image = paste_back(image, target.image, target.hole, source.feather_px)
    change = np.abs(image[target.mask].astype(float) - target.image[target.mask]).mean()
    if change < _LEAST_CHANGE:
        raise PaintError("hardly any change inside the mask")
    return image


def dilate(mask: NDArray[np.bool_], radius_px: int) -> NDArray[np.bool_]:
    """`mask` grown by a disc of `radius_px`."""
    y, x = np.mgrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disc = (x**2 + y**2 <= radius_px**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def paste_back(
    painted: NDArray[np.uint8], view: NDArray[np.uint8], hole: NDArray[np.bool_], feather_px: int
) -> NDArray[np.uint8]:
    """`painted` inside `hole`, exactly `view` outside; inside the hole they blend over `feather_px`."""
    if feather_px == 0:
        return np.where(hole[..., None], painted, view)
    # Padded, so that nothing is blended where the hole meets the frame's border.
    padded = np.pad(hole.astype(np.uint8), feather_px + 1, mode="edge")
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = slice(feather_px + 1, -feather_px - 1)
    weight = np.clip(distance[inner, inner] / (feather_px + 1), 0, 1)[..., None]
    blend = np.rint(weight * painted + (1 - weight) * view).astype(np.uint8)
    return np.where(hole[..., None], blend, view)
