"""Masks without any weights: OpenCV's GrabCut (Rother et al. 2004) started from a centred rectangle."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


class Estimator:
    """GrabCut for pictures of one object near the middle; see `nearid.data.masks.Estimator`."""

    def __init__(self, options: dict[str, Any]) -> None:
        del options

    def estimate(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mask `[h, w]` of the object in `image` `[h, w, 3]`."""
        height, width = image.shape[:2]
        labels = np.full((height, width), cv2.GC_BGD, np.uint8)
        top, left = height // 20, width // 20
        labels[top : height - top, left : width - left] = cv2.GC_PR_FGD
        cv2.setRNGSeed(0)
        cv2.grabCut(image, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
        return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
