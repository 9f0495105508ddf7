"""The DeepSpeed engine of one head: AdamW, warm-up and cosine, explicit precision, stage and clipping."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup

from nearid.cluster.devices import choose_device
from nearid.cluster.ranks import Ranks
from nearid.errors import UserError


def deepspeed_config(training: Mapping[str, Any], ranks: Ranks) -> dict[str, Any]:
    """DeepSpeed's JSON for a head's training settings; nothing that changes the maths is left to its defaults.

    Raises:
        UserError: the batch cannot be cut evenly over the ranks.
    """
    batch = training["batch_size"]
    if batch % ranks.size:
        raise UserError(
            "training.batch_size", f"{batch} over {ranks.size} ranks", "a multiple of the ranks", "change one of them"
        )
    config = {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": batch // ranks.size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": float(training["clip_norm"]),
        "zero_optimization": {"stage": training["zero_stage"]},
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        # It would wait for the GPU twice in each step, to tell what log.jsonl tells as well.
        "timers": {"throughput": {"enabled": False}},
    }
    # The optimizer is torch's own; with sharding DeepSpeed wants that confirmed.
    return config | ({"zero_allow_untested_optimizer": True} if training["zero_stage"] else {})


@dataclass
class Engine:
    """A head that learns from gradients.

    The gradients come from outside, because heads that train together get theirs in one backward pass. DeepSpeed
    averages them over the ranks, clips this head's norm and steps.

    Args:
        head: the module, updated in place.
        training: settings `learning_rate`, `weight_decay`, `warmup_steps`, `clip_norm`, `batch_size`, `zero_stage`.
        steps: of the whole training; the learning rate reaches zero behind the last.
        ranks: this process among its fellows, already joined.
        before: what `state()` gave, to go on from.

    Raises:
        UserError: a sharded state of another number of ranks.
    """

    head: nn.Module
    training: Mapping[str, Any]
    steps: int
    ranks: Ranks
    before: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        deepspeed = _import_deepspeed()
        self.device = choose_device(self.ranks.local_rank)
        self.head.to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(),
            lr=self.training["learning_rate"],
            weight_decay=self.training["weight_decay"],
            fused=True,
        )
        self.schedule: LRScheduler = get_cosine_schedule_with_warmup(
            self.optimizer, self.training["warmup_steps"], self.steps
        )
        if self.before:
            self.head.load_state_dict(self.before["head"])
        self._engine, *_ = deepspeed.initialize(
            model=_Handover(self.head),
            optimizer=self.optimizer,
            lr_scheduler=self.schedule,
            config=deepspeed_config(self.training, self.ranks),
            dist_init_required=False,
        )
        if self.before:
            self.optimizer.load_state_dict(self._own_part(self.before["optimizer"]))
            self.schedule.load_state_dict(self.before["schedule"])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What `learn` takes gradients of, in this order."""
        return list(self.head.parameters())

    def learn(self, gradients: Sequence[Tensor]) -> tuple[float, float]:
        """One step down `gradients`; their norm before clipping, averaged over ranks, and the learning rate used."""
        self._engine.backward(self._engine(*gradients))
        rate = float(self.schedule.get_last_lr()[0])
        sharded = self.training["zero_stage"] > 0
        norm = 0.0 if sharded else norm_of([weight.grad for weight in self.head.parameters()])
        self._engine.step()
        return float(self._engine.get_global_grad_norm()) if sharded else norm, rate

    def weights(self) -> dict[str, Tensor]:
        """The head's state dict on the CPU."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that a later `Engine` needs to go on as if nothing had happened; complete on rank 0 only.

        Every rank calls it. Without sharding any number of ranks may go on.
        """
        own = self.optimizer.state_dict()
        parts: list[Any] = [own]
        if self.training["zero_stage"]:
            parts = [None] * self.ranks.size
            dist.gather_object(own, parts if self.ranks.rank == 0 else None)
        return {"head": self.weights(), "optimizer": parts, "schedule": self.schedule.state_dict()}

    def _own_part(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if not self.training["zero_stage"]:
            return parts[0]
        if len(parts) != self.ranks.size:
            raise UserError(
                "training.zero_stage",
                f"a state sharded over {len(parts)} ranks, and {self.ranks.size} ranks now",
                "as many ranks as before (a state that is not sharded goes on with any number)",
                f"go on with {len(parts)} ranks, or delete the head's folder `.progress`",
            )
        return parts[self.ranks.rank]


def norm_of(gradients: Sequence[Tensor | None]) -> float:
    """Norm of all gradients of one head together."""
    return float(torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None]))


class _Handover(nn.Module):
    """DeepSpeed's view of a head: its "loss" is a scalar whose backward pass hands over gradients that are there."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, *gradients: Tensor) -> Tensor:
        weights = list(self.head.parameters())
        loss: Tensor = _Hand.apply(len(weights), *weights, *gradients)
        return loss


class _Hand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *weights_and_gradients: Tensor) -> Tensor:
        ctx.gradients = weights_and_gradients[count:]
        return weights_and_gradients[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        # The incoming factor is 1: float32 has no loss scale, and a step is one backward pass.
        return (None, *ctx.gradients, *[None] * len(ctx.gradients))


def _import_deepspeed() -> Any:
    os.environ.setdefault("DS_BUILD_OPS", "0")
    if choose_device().type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # Left alone, it would try out a compiler on all its ops and build a shared-memory all-reduce at first use: half a
    # minute, and no start at all on a machine without compiler. A head needs none of them.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
