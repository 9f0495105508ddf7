"""What an engine receives and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from nearid.config.schema.sources import Options

if TYPE_CHECKING:
    import torch

    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source
    from nearid.distractors.pool import Pool

Prompt = dict[str, "torch.Tensor"]
"""Embeddings of one text: named tensors without a batch axis."""


class PaintError(Exception):
    """An engine could not paint this view with this seed; the message is the reason that the report shows."""


class NothingToPaint(Exception):  # noqa: N818
    """An engine could not paint this view with any seed; the message is the reason that the report shows."""


@dataclass(frozen=True)
class Target:
    """The view to paint a distractor for.

    Attributes:
        id: of the identity.
        slot: 0, 1 or 2.
        image: uint8 `[h, w, 3]`.
        mask: bool `[h, w]`, the identity in `image`.
        hole: bool `[h, w]`, what is to be painted: the mask, grown by the source's `dilate_px`.
        class_name: category.
        split: of the identity; donors must be from the same one.
        text: foreground text.
        prompt: caption of the scene.
    """

    id: int
    slot: int
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    hole: NDArray[np.bool_]
    class_name: str
    split: str
    text: str
    prompt: str


KNOWN_FAILURES = (cv2.error, np.linalg.LinAlgError, FloatingPointError)
"""Numerical errors, after which another seed may succeed."""
Frame = NDArray[Any] | PaintError | NothingToPaint
"""A whole frame `[h', w', 3]` with the target's aspect ratio, at any resolution, or why there is none."""


class BaseEngine:
    """Base class of engines, which paint another instance into views; each is a class `Engine` in its own module.

    An engine defines `paint`; one that paints several views at once defines `paint_batch` instead, and one with text
    encoders also defines `encode`. The same target and seed must give the same frame.

    Attributes:
        own_options: the class that checks the options of an engine that you add; the options of the engines here are in
            `nearid.config.schema.sources`.
        needs_pool: whether it reads other identities' views, so that its rule waits for all shards of the positives.
        reads_prompts: whether it has text encoders. The runner then calls `encode` before anything is painted and
            stores the embeddings, so that encoders and painter are never in memory together.
        batch_size: the most views that `paint_batch` takes. Batches are fixed by the views' positions in the shard.
    """

    own_options: ClassVar[type[Options]] = Options
    needs_pool: ClassVar[bool] = False
    reads_prompts: ClassVar[bool] = False
    batch_size: int = 1

    def __init__(self, source: Source[Any], dataset: AnyDataset, seed: int, pool: Pool) -> None: ...

    def paint(self, target: Target, seed: int) -> NDArray[Any]:
        """A frame of one target.

        Raises:
            PaintError: this seed gave nothing usable.
            NothingToPaint: no seed would give anything usable.
        """
        raise NotImplementedError

    def encode(self, texts: Iterable[str]) -> Iterator[Prompt]:
        """The embeddings of each text, in order; the encoders are freed after the last one."""
        raise NotImplementedError

    def paint_batch(self, targets: Sequence[Target], seeds: Sequence[int], prompts: Sequence[Prompt]) -> list[Frame]:
        """A frame per target; `prompts` are the embeddings of the targets' texts, empty unless `reads_prompts`."""
        return [self._try(target, seed) for target, seed in zip(targets, seeds, strict=True)]

    def _try(self, target: Target, seed: int) -> Frame:
        try:
            return self.paint(target, seed)
        except (NothingToPaint, PaintError) as reason:
            return reason
        except KNOWN_FAILURES as error:
            return PaintError(str(error))
