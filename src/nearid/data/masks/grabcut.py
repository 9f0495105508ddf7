"""Masks without a model: OpenCV's GrabCut (Rother et al. 2004), started where a picture differs from its border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nearid.config.schema.dataset import ImageFolder

# GrabCut runs on a small copy: at 384 px it takes ten times as long and finds the same objects.
_SIDE_PX = 192
_BORDER_COLOURS = 6
_ITERATIONS = 4


class Estimator:
    """GrabCut for pictures of one object near the middle; see `nearid.data.masks.Estimator`.

    Pixels are scored by a bell centred on the picture, times their contrast to the commonest colours of the border: the
    best 5 % start as foreground, the best 35 % as probable foreground. A start from a rectangle, which is more common,
    loses objects that cover little of it or that share colours with the scene.
    """

    def __init__(self, options: ImageFolder) -> None:
        del options

    def estimate(self, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Mask `[h, w]` of the object in `image` `[h, w, 3]`."""
        height, width = image.shape[:2]
        factor = min(1.0, _SIDE_PX / max(height, width))
        size = (max(8, round(width * factor)), max(8, round(height * factor)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        labels = _start_labels(small)
        # OpenCV initialises its colour models from a global random generator.
        cv2.setRNGSeed(0)
        cv2.grabCut(small, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
        mask = _keep_central((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))
        soft = cv2.resize(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7), (width, height))
        return soft > 0.5


def _start_labels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    colours = cv2.bilateralFilter(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 5, 20, 5).astype(np.float32)
    rim = max(2, min(height, width) // 16)
    inside = np.zeros((height, width), bool)
    inside[rim : height - rim, rim : width - rim] = True
    cv2.setRNGSeed(0)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, _, centres = cv2.kmeans(colours[~inside], _BORDER_COLOURS, None, stop, 2, cv2.KMEANS_PP_CENTERS)
    contrast = np.min([np.linalg.norm(colours - centre, axis=-1) for centre in centres], axis=0)
    contrast = cv2.GaussianBlur(contrast, (0, 0), 2)
    contrast = np.clip(contrast / max(float(np.percentile(contrast, 98)), 1e-6), 0, 1)
    score = _bell(height, width) * (0.35 + contrast)
    likely, sure = np.percentile(score, [65, 95])
    labels = np.where(score > likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels[score > sure] = cv2.GC_FGD
    edge = max(1, min(height, width) // 40)
    frame = np.pad(np.zeros((height - 2 * edge, width - 2 * edge), bool), edge, constant_values=True)
    labels[frame] = cv2.GC_BGD
    return labels.astype(np.uint8)


def _keep_central(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The heaviest component and those of at least a quarter of its weight, filled; central pixels weigh more."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, pieces = cv2.connectedComponents(opened)
    weights = np.bincount(pieces.ravel(), _bell(*mask.shape).ravel(), minlength=count)
    weights[0] = 0
    kept = ((weights >= 0.25 * weights.max()) & (weights > 0))[pieces].astype(np.uint8)
    kept = cv2.morphologyEx(kept, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    contours, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(kept)
    cv2.drawContours(filled, contours, -1, 1, thickness=cv2.FILLED)
    return filled > 0


def _bell(height: int, width: int) -> NDArray[np.float64]:
    y, x = np.mgrid[0:height, 0:width]
    bell: NDArray[np.float64] = np.exp(
        -0.6 * (((x - width / 2) / (0.33 * width)) ** 2 + ((y - height / 2) / (0.36 * height)) ** 2)
    )
    return bell
