"""Scorers, one module per kind: `Scorer` in `nearid.scores.scorers.<kind>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nearid.layout import Layout


class ImageKey(NamedTuple):
    """One image of a collection under a condition.

    Attributes:
        shard: shard of the collection that holds it.
        id: identity, or sample of MTG.
        slot: view 0 to 2; for MTG 0 and 1 the originals, 2 and 3 their edited copies.
        condition: `full`, or `fg`: black outside the mask (spec data.md 4.3).
    """

    shard: str
    id: int
    slot: int
    condition: str


class Scorer(Protocol):
    """Turns images into unit vectors whose dot product is the similarity.

    Built from a step's settings: `scorer` is the entry of the config's catalogue, `backbone_id` and `backbone` are
    the tokens to use where it needs any.
    """

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]`; NaN where the scorer has nothing to go by (say, no mask).

        Args:
            collection: `positives`, a source, `mtg_train` or `mtg_test`.
            images: each once, all of that collection.

        Raises:
            UserError: an image, its tokens or the scorer's own files are missing or damaged.
        """
        ...


def load_scorer(settings: Mapping[str, Any], layout: Layout) -> Scorer:
    """The scorer of a step's `settings`."""
    return import_module(f"{__name__}.{settings['scorer']['kind']}").Scorer(settings, layout)
