"""Cleaning of released masks, which carry JPEG noise outside the object (docs/protocol.md 4.3)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 5
_THRESHOLD = 10


def clean(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Blur 5x5, threshold > 10, close then open 5x5, keep the largest outer contour and fill it.

    Args:
        mask: grey `[h, w]`, or boolean (True counts as 255).

    Returns:
        Boolean mask `[h, w]`, all False if nothing is left.
    """
    grey = mask.astype(np.uint8) * 255 if mask.dtype == np.bool_ else mask
    blurred = cv2.GaussianBlur(grey, (_SIDE, _SIDE), 0)
    binary = (blurred > _THRESHOLD).astype(np.uint8)
    square = np.ones((_SIDE, _SIDE), np.uint8)
    binary = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, square)
    binary = cv2.morphologyEx(binary, cv2.MORPH_OPEN, square)
    contours, _ = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(binary)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, thickness=cv2.FILLED)
    return filled > 0
