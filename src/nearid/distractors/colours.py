"""Colour transfer, so that a pasted object does not differ from the replaced one in colour alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_FLOOR = 1.0
_SAMPLES = 1000
_ROUNDS = 5


def match_colours(
    image: NDArray[np.uint8], where: NDArray[np.bool_], model: NDArray[np.uint8], model_mask: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """`image` with the pixels in `where` moved to the colour distribution of `model` in `model_mask`.

    Means and covariances in Lab are matched by the linear map of least displacement (Pitie and Kokaram 2007), then the
    distributions along the axes of a few random rotations, one after the other (Pitie, Kokaram and Dahyot 2005).
    """
    if not where.any() or not model_mask.any():
        return image
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    wanted = cv2.cvtColor(model.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[model_mask]
    change = _match_distribution(_match_covariance(lab[where], wanted), wanted) - lab[where]
    changes = np.full_like(lab, change.mean(axis=0))
    changes[where] = change
    # The map has steps, so neighbours of almost the same colour may become speckles; the median prevents that.
    lab[where] += cv2.medianBlur(changes, 3)[where]
    back = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255
    return np.where(where[..., None], np.rint(back).astype(np.uint8), image)


def _match_covariance(pixels: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    own, goal = (np.cov(values, rowvar=False).reshape(3, 3) + _FLOOR * np.eye(3) for values in (pixels, wanted))
    root = _power(own, 0.5)
    inverse = _power(own, -0.5)
    transfer = inverse @ _power(root @ goal @ root, 0.5) @ inverse
    moved: NDArray[np.float32] = ((pixels - pixels.mean(axis=0)) @ transfer + wanted.mean(axis=0)).astype(np.float32)
    return moved


def _match_distribution(pixels: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    turns = np.random.default_rng(0)
    moved = pixels.astype(np.float64)
    for turn in range(_ROUNDS):
        # The last round has no rotation, so that lightness itself fits best.
        axes = np.eye(3) if turn == _ROUNDS - 1 else np.linalg.qr(turns.normal(size=(3, 3)))[0]
        turned, goal = moved @ axes, wanted @ axes
        moved = np.stack([_match_quantiles(turned[:, axis], goal[:, axis]) for axis in range(3)], axis=1) @ axes.T
    return moved.astype(np.float32)


def _match_quantiles(values: NDArray[np.floating], wanted: NDArray[np.floating]) -> NDArray[np.floating]:
    ranked, goal = (np.sort(sample[:: max(1, len(sample) // _SAMPLES)]) for sample in (values, wanted))
    # Equal values get the middle of their ranks, so a flat colour becomes the median of the colours that it stands for.
    ranks = np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")
    return np.interp(ranks / (2 * len(ranked)), (np.arange(len(goal)) + 0.5) / len(goal), goal)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    result: NDArray[np.float64] = (vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T
    return result
