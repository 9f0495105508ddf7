"""What the objectives share: unit vectors, masked reductions, and the pool gathered over all ranks.

Notation of docs/losses.md 2: rows `i` are those of the *global* batch; `b` of its `n` rows are on this rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.distributed.nn.functional import all_gather


def normalise(vectors: Tensor) -> Tensor:
    """Unit vectors in float32 or wider; a zero vector (padding) stays zero and its gradient finite."""
    wide = vectors if vectors.dtype == torch.float64 else vectors.float()
    return F.normalize(wide, dim=-1, eps=1e-12)


def masked_logsumexp(logits: Tensor, mask: Tensor) -> Tensor:
    """Log of the sum of exp over the last axis where `mask`; -inf for an empty set, never with a NaN gradient."""
    empty = ~mask.any(-1, keepdim=True)
    filled = logits.masked_fill(~mask, -torch.inf).masked_fill(empty, 0.0)
    return filled.logsumexp(-1).masked_fill(empty.squeeze(-1), -torch.inf)


def world() -> tuple[int, int]:
    """`(rank, size)`; `(0, 1)` without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def gather(rows: Tensor) -> Tensor:
    """All ranks' `rows` in rank order, [b, ...] -> [n, ...], with gradient to the rank that owns each row."""
    return torch.cat(all_gather(rows)) if world()[1] > 1 else rows


def gather_constant(rows: Tensor) -> Tensor:
    """As `gather`, without gradient; any dtype."""
    size = world()[1]
    if size == 1:
        return rows.detach()
    # gloo gathers no booleans.
    sent = rows.detach().to(torch.uint8) if rows.dtype == torch.bool else rows.detach().contiguous()
    parts = [torch.empty_like(sent) for _ in range(size)]
    dist.all_gather(parts, sent)
    return torch.cat(parts).to(rows.dtype)


def global_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` over all ranks, such that the *average over ranks* is the one-device mean.

    Local sum / global count * ranks (docs/losses.md 2). Without valid entries: a zero in the graph.
    """
    size = world()[1]
    count = mask.sum()
    if size > 1:
        dist.all_reduce(count)
    return values.masked_fill(~mask, 0.0).sum() * size / count.clamp(min=1)


def row_mean(values: Tensor) -> Tensor:
    """Mean over all ranks' rows, [b] -> scalar; see `global_mean`."""
    return global_mean(values, torch.ones_like(values, dtype=torch.bool))


def slot_mean(values: Tensor, mask: Tensor, global_mask: Tensor) -> Tensor:
    """Average the rows of each slot, then the slots that have any row (docs/losses.md 3): [b, slots] -> scalar."""
    rows = global_mask.sum(0).to(values.dtype)
    weights = (rows > 0) / rows.clamp(min=1) / (rows > 0).sum().clamp(min=1)
    return (values.masked_fill(~mask, 0.0) * weights).sum() * world()[1]


@dataclass(frozen=True)
class Batch:
    """One rank's tuples as unit vectors, with what the objectives read from the other ranks.

    Args:
        anchor: [b, dim]; positives: [b, p, dim]; distractors: [b, k, dim].
        positive_mask: [b, p], distractor_mask: [b, k]; False is padding, whose content never matters.
        severity: [b, k], how much of the object an edit changed; None without oracle.
        owners: [b], a number per identity: rows with the same are not negatives of each other; None: one row each.
        picks: [b], the one positive slot that symmetric InfoNCE uses; None takes the first valid one.
    """

    anchor: Tensor
    positives: Tensor
    distractors: Tensor
    positive_mask: Tensor
    distractor_mask: Tensor
    severity: Tensor | None = None
    picks: Tensor | None = None
    owners: Tensor | None = None

    @cached_property
    def own_rows(self) -> Tensor:
        """Positions [b] of this rank's rows in the global batch."""
        rows = len(self.anchor)
        return torch.arange(rows, device=self.anchor.device) + world()[0] * rows

    @cached_property
    def global_positive_mask(self) -> Tensor:
        """Validity [n, p] of every rank's positives."""
        return gather_constant(self.positive_mask)

    @cached_property
    def pool(self) -> Tensor:
        """Cosines [b, n * p] of the anchors with every rank's positives, padding included."""
        return self.anchor @ gather(self.positives).flatten(0, 1).T

    @cached_property
    def copies(self) -> Tensor:
        """[b, n], True where a row of the global batch is the row itself, or another of its identity by `owners`."""
        if self.owners is not None:
            return self.owners[:, None] == gather_constant(self.owners)
        rows = torch.arange(len(self.global_positive_mask), device=self.anchor.device)
        return rows == self.own_rows[:, None]

    @cached_property
    def own_columns(self) -> Tensor:
        """[b, n * p], True where a pool column belongs to the row itself, or to one of its `copies`."""
        return self.copies.repeat_interleave(self.positives.shape[1], dim=1)

    @cached_property
    def negatives(self) -> Tensor:
        """[b, n * p], True where a pool column is a valid positive of another row."""
        return self.global_positive_mask.flatten() & ~self.own_columns

    @cached_property
    def own_cosines(self) -> Tensor:
        """Cosines [b, p] of each anchor with its own positives."""
        return torch.einsum("bd,bpd->bp", self.anchor, self.positives)

    @cached_property
    def distractor_cosines(self) -> Tensor:
        """Cosines [b, k] of each anchor with its own distractors."""
        return torch.einsum("bd,bkd->bk", self.anchor, self.distractors)

    @cached_property
    def picked(self) -> Tensor:
        """The picked positive [b, dim] of each row."""
        picks = self.positive_mask.int().argmax(1) if self.picks is None else self.picks
        return self.positives[torch.arange(len(picks), device=picks.device), picks]


@torch.no_grad()
def mean_cosines(batch: Batch) -> dict[str, Tensor]:
    """Means over all ranks of the anchors' cosines with positives, distractors and other identities, for the log.

    Call it after the terms: what it caches in `batch` carries no gradient.
    """
    return {
        "positive": global_mean(batch.own_cosines, batch.positive_mask),
        "distractor": global_mean(batch.distractor_cosines, batch.distractor_mask),
        "other": global_mean(batch.pool, batch.negatives),
    }
