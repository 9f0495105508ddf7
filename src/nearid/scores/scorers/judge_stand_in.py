"""A stand-in for the VLM judge where there is no model to run: it compares colours and answers in a judge's format.

It exercises how benchmarks treat a judge (pairs, kept answers, integer scores, ties that lose), not what one sees.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.scores.answers import hash_pair
from nearid.scores.judging.reading import HIGHEST, read_answer
from nearid.scores.scorers import Pair, ParsedAnswer, Shown
from nearid.scores.scorers.colour_histogram import embed_colours
from nearid.tokens.collections import fit_mask

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score
    from nearid.layout import Layout

BINS = 6


class Scorer:
    """Rounds the objects' colour overlap to a score of 0 to 10, in the JSON that a judge is asked for."""

    batch_size = 256

    def __init__(self, settings: Score, layout: Layout) -> None:
        self._colours: dict[bytes, NDArray[np.float32]] = {}

    def key(self, pair: Pair) -> str:
        """Hash of images and masks."""
        return hash_pair(pair, True, "stand-in", BINS)

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions in `pairs` and answers."""
        for position, (first, second) in enumerate(pairs):
            overlap = float(self._describe(first) @ self._describe(second))
            score = None if np.isnan(overlap) else round(HIGHEST * overlap)
            yield position, json.dumps({"match_cues": ["stand-in: colours"], "confidence": "low", "score": score})

    def read(self, answer: str) -> ParsedAnswer:
        """Score / 10."""
        return read_answer(answer)

    def _describe(self, shown: Shown) -> NDArray[np.float32]:
        picture = shown.picture
        if picture.image not in self._colours:
            pixels = decode_rgb(picture.image, picture.where)
            mask = None if picture.mask is None else decode_stored_mask(picture.mask, f"{picture.where}, its mask")
            inside = None if mask is None else fit_mask(mask, pixels)
            self._colours[picture.image] = embed_colours(pixels, inside, BINS)
        return self._colours[picture.image]
