"""Colours alone: what a scorer without any notion of shape or markings reaches inside the exact mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearid.config.settings.scores import ColourHistogram
from nearid.io.images import decode_stored_mask
from nearid.scores.pictures import StoredImages
from nearid.scores.scorers import ImageKey
from nearid.tokens.collections import Picture, fit_mask

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score
    from nearid.layout import Layout

BINS = 6
ROWS = 512


class Scorer:
    """Embeds the object's pixels as the square root of their colour histogram over `bins`^3 cells.

    The dot product of two such vectors is the Bhattacharyya coefficient. Since only pixels inside the mask count,
    `full` and `fg` give the same. It shows how much the palette reveals, which distractors should share.
    """

    def __init__(self, settings: Score, layout: Layout) -> None:
        assert isinstance(settings.scorer, ColourHistogram)
        self._bins = settings.scorer.bins or BINS
        self._book = StoredImages.of(settings, layout)
        self._histograms: dict[tuple[str, str, int, int], NDArray[np.float32]] = {}

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, bins^3]`; NaN where the mask is missing or empty."""
        return np.stack([self._describe(collection, key) for key in images])

    def embed_pixels(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[images, bins^3]` of whole images."""
        return np.stack([embed_colours(image, np.ones(image.shape[:2], bool), self._bins) for image in images])

    def fingerprint(self, collections: Sequence[str], shards: Sequence[str]) -> str:
        """Empty: its vectors are computed faster than they are read."""
        return ""

    def _describe(self, collection: str, key: ImageKey) -> NDArray[np.float32]:
        # Cached, since the other condition needs the same.
        place = collection, key.shard, key.id, key.slot
        if place not in self._histograms:
            pixels = _object_pixels(self._book.find(collection, key))
            self._histograms[place] = embed_colours(*pixels, self._bins)
        return self._histograms[place]


def embed_colours(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None, bins: int = BINS) -> NDArray[np.float32]:
    """Square root of the colour histogram `[bins^3]` of an image `[h, w, 3]` inside its mask: a unit vector."""
    if mask is None or not mask.any():
        return np.full(bins**3, np.nan, np.float32)
    counts = np.zeros(bins**3, np.int64)
    # Some rows at a time: a large picture takes eight times its size as integers.
    for rows in range(0, len(image), ROWS):
        levels = image[rows : rows + ROWS][mask[rows : rows + ROWS]].astype(np.int64) * bins // 256
        counts += np.bincount(levels @ (bins * bins, bins, 1), minlength=bins**3)
    return np.sqrt(counts / counts.sum()).astype(np.float32)


def _object_pixels(picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    image = picture.pixels("full")
    if picture.mask is None:
        return image, None
    return image, fit_mask(decode_stored_mask(picture.mask, f"{picture.where}, its mask"), image)
