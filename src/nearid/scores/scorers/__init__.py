"""Scorers, one module per kind: `Scorer` in `nearid.scores.scorers.<kind>`.

A scorer is an `Embedder`, whose similarities are dot products, a `PairScorer`, which looks at two images at once, or a
`Rated` one, which only has released ratings of DreamBench++.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nearid.config.settings.scores import Score
    from nearid.layout import Layout
    from nearid.scores.ratings import Ratings
    from nearid.tokens.collections import Picture


class ImageKey(NamedTuple):
    """One image of a collection under a condition.

    Attributes:
        shard: shard of the collection that holds it.
        id: identity, or sample of MTG.
        slot: view 0 to 2; for MTG 0 and 1 the originals, 2 and 3 their edited copies.
        condition: `full`, or `fg`: black outside the mask (docs/protocol.md 4.3).
    """

    shard: str
    id: int
    slot: int
    condition: str


class Shown(NamedTuple):
    """One image as a pair scorer is shown it.

    Attributes:
        collection: `positives`, a source, `mtg_test`, or of DreamBench++ a method with `reference` or `generated`.
        picture: its encoded bytes and mask.
        condition: `full` or `fg`.
    """

    collection: str
    picture: Picture
    condition: str


Pair = tuple[Shown, Shown]


class ParsedAnswer(NamedTuple):
    """A parsed answer: the similarity (NaN for none), and flags that are counted (`bad_score`, ...)."""

    similarity: float
    flags: tuple[str, ...] = ()


@runtime_checkable
class Embedder(Protocol):
    """Turns images into unit vectors whose dot product is the similarity.

    Built from the settings of a step (`nearid.config.settings.scores.Score`) and the layout of the results folder.
    """

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]`; NaN if the scorer lacks what it needs, such as a mask.

        Args:
            collection: `positives`, a source, `mtg_train` or `mtg_test`.
            images: each once, all of that collection.

        Raises:
            UserError: an image, its tokens or the scorer's own files are missing or damaged.
        """
        ...

    def embed_pixels(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of whole images [h, w, 3] that are in no collection."""
        ...

    def fingerprint(self, collections: Sequence[str], shards: Sequence[str]) -> str:
        """Hash of what these vectors depend on besides settings and code; empty if they are not worth keeping."""
        ...


@runtime_checkable
class PairScorer(Protocol):
    """Compares two images at once. Its answers are texts, which are kept so that a stopped run continues."""

    batch_size: int
    """Pairs that are answered together; chunks are formed by position, so that a resumed run forms the same."""

    def key(self, pair: Pair) -> str:
        """A hash of all that the answer depends on: pixels, masks, model, prompt, settings."""
        ...

    def answer(self, pairs: Sequence[Pair]) -> Generator[tuple[int, str], None, None]:
        """Positions in `pairs` and answers, in any order, each as soon as it is there.

        Raises:
            UserError: the model cannot be loaded or reached, or gives no answer in any attempt.
        """
        ...

    def read(self, answer: str) -> ParsedAnswer:
        """Parse an answer."""
        ...


@runtime_checkable
class Rated(Protocol):
    """Has released ratings of DreamBench++, and no model."""

    def ratings(self) -> Mapping[str, Ratings]:
        """Ratings by method and canonical key."""
        ...


Scorer = Embedder | PairScorer | Rated


def load_scorer(settings: Score, layout: Layout) -> Scorer:
    """The scorer of a step's `settings`."""
    scorer: Scorer = import_module(f"{__name__}.{settings.scorer.kind}").Scorer(settings, layout)
    return scorer
