"""What an engine receives and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from nearid.distractors.pool import Pool

Prompt = dict[str, "torch.Tensor"]
"""What an engine's text encoders make of one text: named tensors without a batch axis."""


class PaintError(Exception):
    """An engine could not paint this view with this seed; the message is the reason that the report shows."""


class NothingToPaint(Exception):  # noqa: N818
    """No seed would help; the message is the reason that the report shows."""


@dataclass(frozen=True)
class Target:
    """The view to paint a distractor for.

    Attributes:
        id: of the identity.
        slot: 0, 1 or 2.
        image: uint8 `[h, w, 3]`.
        mask: bool `[h, w]`, the identity in `image`.
        class_name: category.
        split: of the identity; other identities may only come from the same one.
        text: foreground text.
        prompt: caption of the scene.
    """

    id: int
    slot: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    class_name: str
    split: str
    text: str
    prompt: str


class Engine(Protocol):
    """Paints another instance into views; `Engine(source_settings, dataset_settings, seed, pool)` makes one."""

    needs_pool: ClassVar[bool]
    """Whether it reads other identities' views, so that a rule must wait for all shards of the positives."""

    def __init__(self, source: dict[str, Any], dataset: dict[str, Any], seed: int, pool: Pool) -> None: ...

    def paint(self, target: Target, seed: int) -> NDArray[Any]:
        """A whole frame `[h', w', 3]` of the target's aspect at any resolution; same target and seed, same frame.

        Raises:
            PaintError: this seed gave nothing usable.
            NothingToPaint: no seed would.
        """
        ...


@runtime_checkable
class BatchEngine(Protocol):
    """An engine with text encoders of its own, which paints several views at once.

    The runner calls `encode` once per shard and keeps what it gives, so that encoders and painter never share memory;
    then it calls `paint_batch` with batches that are fixed by the views' positions in the shard.
    """

    needs_pool: ClassVar[bool]
    batch_size: int

    def encode(self, texts: Iterable[str]) -> Iterator[Prompt]:
        """The embeddings of each text, in order; the encoders are freed after the last one."""
        ...

    def paint_batch(
        self, targets: Sequence[Target], seeds: Sequence[int], prompts: Sequence[Prompt]
    ) -> list[NDArray[Any] | PaintError]:
        """For each target (at most `batch_size`) a frame as of `Engine.paint`, or why there is none."""
        ...
