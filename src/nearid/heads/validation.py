"""Evaluation on validation identities during training: strict success rate and mean margin (docs/protocol.md 4.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from nearid.heads.feeds import TokenBatch, TrainingPool, load_batches
from nearid.heads.packs import PackedHead, encode
from nearid.heads.tuples import SLOTS, Tuples
from nearid.margins import VIEW_PAIRS, directed_margins, strict_success

SAMPLES = 16  # at a time
KEPT_BYTES = {"cpu": 2**28, "cuda": 2**32}
"""The most tokens kept in memory between validations: the paper's 2.5 GB fit on a GPU, a small run's on a CPU."""


class Validation:
    """Evaluates heads on unmasked images of the validation identities and the distractors of each source of the mix.

    Args:
        pool: where their tokens come from.
        tuples: a sample per identity and source: views, then distractors on the same backgrounds; none if the mix has
            no sources or the split is empty.
    """

    def __init__(self, pool: TrainingPool, tuples: Tuples) -> None:
        self._pool, self._tuples = pool, tuples
        self._kept: list[TokenBatch] | None = None

    @torch.no_grad()
    def evaluate(self, members: Sequence[PackedHead]) -> list[dict[str, float]]:
        """`val_ssr` (percent) and `val_margin` of each member; nothing without validation identities.

        The rate is defined like the scores' `ssr`: identities, once per source, whose valid margins are all positive.
        """
        if not len(self._tuples):
            return [{} for _ in members]
        found: list[list[NDArray[np.float32]]] = [[] for _ in members]
        for batch in self._batches(members[0].engine.device):
            valid = torch.from_numpy(batch.tuples.valid)
            for own, vectors in zip(found, encode(members, batch), strict=True):
                own.append(margins(vectors.cpu(), valid))
        return [summarise(np.concatenate(own)) for own in found]

    def _batches(self, device: torch.device) -> Iterator[TokenBatch]:
        """The same batches each time, so they are kept in memory if they fit."""
        if self._kept is not None:
            yield from self._kept
            return
        parts = [self._tuples[start : start + SAMPLES] for start in range(0, len(self._tuples), SAMPLES)]
        kept: list[TokenBatch] | None = []
        # Only one ahead, since the training's own batches are in memory too.
        for batch in load_batches(self._pool, parts, SAMPLES, ahead=1, device=device):
            if kept is not None:
                kept.append(replace(batch, tokens=batch.tokens.clone()))
                if sum(each.tokens.nbytes for each in kept) > KEPT_BYTES[device.type]:
                    kept = None
            yield batch
        self._kept = kept


def margins(vectors: Tensor, valid: Tensor) -> NDArray[np.float32]:
    """Directed margins [n, 6]; NaN where an image is missing.

    Args:
        vectors: embeddings [n, 6, dim] of three views and the distractors on their backgrounds.
        valid: [n, 6], False for padding.
    """
    unit = functional.normalize(vectors.float(), dim=-1).masked_fill(~valid[..., None], torch.nan)
    cosines = (unit @ unit.mT).numpy()
    similarities = {f"sim_{i}{j}": cosines[:, i, j] for i, j in VIEW_PAIRS}
    crosses = {f"cross_{i}{i}": cosines[:, i, i + SLOTS] for i in range(SLOTS)}
    return directed_margins(similarities | crosses)


def summarise(margins: NDArray[np.float32]) -> dict[str, float]:
    """Strict success rate in percent over rows with a valid margin, and the mean valid margin."""
    counted = (~np.isnan(margins)).any(axis=1)
    return {
        "val_ssr": float(100 * strict_success(margins).sum() / counted.sum()),
        "val_margin": float(np.nanmean(margins)),
    }
