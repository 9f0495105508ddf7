"""Heads that share token batches: one pass over the tokens, then a loss, clipping and an optimizer for each head.

On a CPU a head has the same bytes in any pack as if trained alone: it has matrix products of its own, whose shapes do
not depend on the other heads (docs/reproducibility.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.distributed as dist
from torch import Tensor

from nearid.config.settings.heads import TrainHead, TrainingSettings
from nearid.distributed.ranks import Ranks
from nearid.errors import UserError
from nearid.heads.checkpoints import Checkpoints
from nearid.heads.engine import Engine
from nearid.heads.feeds import TokenBatch
from nearid.heads.map_head import MAPHead, pool_each
from nearid.heads.objectives import BatchLoss, Loss


@dataclass
class PackedHead:
    """One head of a pack.

    Args:
        settings: how it is trained.
        done: number of steps taken; a head that is ahead waits for the others of its pack.
        seconds: time that these steps took, for the whole pack.
        resumed_after: the step after which this process resumed.
        stopped: the error that ended its training.
    """

    settings: TrainHead
    objective: Loss
    head: MAPHead
    engine: Engine
    checkpoints: Checkpoints
    done: int = 0
    seconds: float = 0.0
    resumed_after: int = 0
    stopped: UserError | None = None

    @property
    def name(self) -> str:
        """Id of its ablation."""
        return self.settings.ablation

    @property
    def training(self) -> TrainingSettings:
        """Its training settings."""
        return self.settings.training


def encode(members: Sequence[PackedHead], batch: TokenBatch, padding: Tensor | None = None) -> list[Tensor]:
    """Each member's embeddings [n, 6, dim] of the batch's slots; the tokens are read once for all of them.

    Args:
        padding: tokens [1, tokens, dim] of the image that fills empty slots, on the batch's device; for members whose
            objective reads padding.
    """
    slots = batch.numbers["slots"]
    pooled = pool_each(batch.tokens, [member.head.queries() for member in members])
    # An image that fills several slots is encoded once; index_select's gradient is summed in a fixed order.
    found = [
        member.head.read_out(own).index_select(0, slots.flatten()).unflatten(0, slots.shape)
        for member, own in zip(members, pooled, strict=True)
    ]
    if padding is None:
        return found
    valid = batch.numbers["valid"][..., None]
    return [
        torch.where(valid, own, member.head(padding)) if member.objective.reads_padding else own
        for member, own in zip(members, found, strict=True)
    ]


def evaluate(members: Sequence[PackedHead], batch: TokenBatch, padding: Tensor | None = None) -> list[BatchLoss]:
    """Each member's loss on the batch; `padding` as in `encode`."""
    valid, severity, picks, owners = (batch.numbers[name] for name in ("valid", "severity", "picks", "owners"))
    return [
        member.objective.parts(
            own[:, 0],
            own[:, 1:3],
            own[:, 3:],
            valid[:, 1:3],
            valid[:, 3:],
            severity=severity,
            picks=picks,
            owners=owners if member.training.own_by == "identity" else None,
            precision=getattr(torch, member.training.loss_precision or "float32"),
        )
        for member, own in zip(members, encode(members, batch, padding), strict=True)
    ]


def differentiate(members: Sequence[PackedHead], losses: Sequence[Tensor]) -> list[Sequence[Tensor]]:
    """Gradients of each loss with respect to its member's parameters, in one backward pass."""
    weights = [member.engine.parameters for member in members]
    # Summed, never averaged: a mean would scale every member's gradient.
    gradients = torch.autograd.grad(torch.stack(list(losses)).sum(), [weight for own in weights for weight in own])
    ends = accumulate(len(own) for own in weights)
    return [gradients[end - len(own) : end] for end, own in zip(ends, weights, strict=True)]


def average(values: Sequence[Mapping[str, Tensor]], ranks: Ranks) -> list[dict[str, float]]:
    """Each member's named scalars, averaged over the ranks."""
    stacked = torch.stack([value.detach() for own in values for value in own.values()])
    if ranks.size > 1:
        dist.all_reduce(stacked)
    numbers = iter(read(stacked / ranks.size))
    return [{name: next(numbers) for name in own} for own in values]


def read(numbers: Tensor) -> list[float]:
    """`numbers` on the host; the only place where a step waits for the device."""
    found: list[float] = numbers.tolist()
    return found
