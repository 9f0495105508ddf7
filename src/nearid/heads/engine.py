"""Training heads with DeepSpeed: AdamW, warm-up and cosine, explicit precision, ZeRO stage and clipping."""

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
from torch.utils._pytree import tree_map_only
from transformers import get_cosine_schedule_with_warmup

from nearid.config.settings.heads import TrainingSettings
from nearid.distributed.devices import choose_device
from nearid.distributed.ranks import Ranks
from nearid.errors import UserError


def deepspeed_config(training: TrainingSettings, ranks: Ranks) -> dict[str, Any]:
    """DeepSpeed's config for a head's training settings; nothing that affects results is left to its defaults.

    Raises:
        UserError: the batch cannot be divided evenly among the ranks.
    """
    batch = training.batch_size
    if batch % ranks.size:
        raise UserError(
            "training.batch_size", f"{batch} over {ranks.size} ranks", "a multiple of the ranks", "change one of them"
        )
    config = {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": batch // ranks.size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": training.clip_norm,
        "zero_optimization": {"stage": training.zero_stage},
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        # They would wait for the GPU twice per step, for what log.jsonl has as well.
        "timers": {"throughput": {"enabled": False}},
    }
    # The optimizer is torch's own; with sharding DeepSpeed requires this confirmation.
    return config | ({"zero_allow_untested_optimizer": True} if training.zero_stage else {})


@dataclass
class Engine:
    """A head in training: its weights, optimizer and schedule. `Learners` takes its steps, with those of other heads.

    Args:
        head: the module, updated in place.
        training: its training settings.
        steps: of the whole training; the learning rate reaches zero after the last.
        ranks: this process's rank; the process group is joined already.
        before: an earlier `state()` to resume from.

    Raises:
        UserError: a sharded state from another number of ranks.
    """

    head: nn.Module
    training: TrainingSettings
    steps: int
    ranks: Ranks
    before: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        self.device = choose_device(self.ranks.local_rank)
        self.head.to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.head.parameters(),
            lr=self.training.learning_rate,
            weight_decay=self.training.weight_decay,
            fused=True,
        )
        self.schedule: LRScheduler = get_cosine_schedule_with_warmup(
            self.optimizer, self.training.warmup_steps, self.steps
        )
        if self.before:
            self.head.load_state_dict(self.before["head"])
        self.sharded: Any = None
        if self.training.zero_stage:
            self.sharded = _initialize([self], self.optimizer, deepspeed_config(self.training, self.ranks))
        if self.before:
            self.optimizer.load_state_dict(self._own_part(self.before["optimizer"]))
            self.schedule.load_state_dict(self.before["schedule"])

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters whose gradients `Learners.receive` takes, in this order."""
        return list(self.head.parameters())

    def weights(self) -> dict[str, Tensor]:
        """A copy of the head's state dict on the CPU."""
        copies: dict[str, Tensor] = tree_map_only(Tensor, _copy, dict(self.head.state_dict()))
        return copies

    def state(self) -> dict[str, Any]:
        """A copy of all that a later `Engine` needs to continue exactly from here; complete on rank 0 only.

        Every rank must call it. Without sharding, any number of ranks may resume from it.
        """
        own = tree_map_only(Tensor, _copy, self.optimizer.state_dict())
        parts: list[Any] = [own]
        if self.training.zero_stage:
            parts = [None] * self.ranks.size
            dist.gather_object(own, parts if self.ranks.rank == 0 else None)
        return {"head": self.weights(), "optimizer": parts, "schedule": self.schedule.state_dict()}

    def _own_part(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        if not self.training.zero_stage:
            return parts[0]
        if len(parts) != self.ranks.size:
            raise UserError(
                "training.zero_stage",
                f"a state sharded over {len(parts)} ranks, and {self.ranks.size} ranks now",
                "as many ranks as before (a state that is not sharded can be resumed with any number)",
                f"resume with {len(parts)} ranks, or delete the head's folder `.progress`",
            )
        return parts[self.ranks.rank]


class Learners:
    """Takes the optimizer steps of heads that are trained together.

    Gradients are passed in, since one backward pass computes them for all heads. DeepSpeed averages them over the ranks
    and steps the optimizers: one DeepSpeed engine serves all heads, so that nineteen cost as much as one; a head with a
    sharded optimizer has one of its own, which also clips. The gradients of the other heads are clipped here, by each
    head's own norm, as DeepSpeed clips a model's, but without waiting for the device.

    Args:
        engines: of the heads; which of them take a step may differ from step to step.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._together = [engine for engine in engines if engine.sharded is None]
        self._joint: Any = None
        if self._together:
            first = self._together[0]
            # Clipped head by head, not as one model.
            config = deepspeed_config(first.training, first.ranks) | {"gradient_clipping": 0.0}
            self._joint = _initialize(self._together, _Together(self._together), config)
            # A single rank has nothing to average; this also saves the copies for it.
            self._joint.enable_backward_allreduce = first.ranks.size > 1

    def receive(self, engines: Sequence[Engine], gradients: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Set the gradients of `engines`; returns the norm of each, as a scalar on the device.

        Norms are those of the gradients averaged over the ranks; a sharded head's is that of this rank's gradients.
        """
        given = {id(engine): own for engine, own in zip(engines, gradients, strict=True)}
        joint = [given.get(id(engine), [None] * len(engine.parameters)) for engine in self._together]
        if self._joint is not None:
            self._joint.backward(self._joint(*(gradient for own in joint for gradient in own)))
            for engine in self._together:
                if id(engine) not in given:
                    _forget(engine)
        norms = []
        for engine, own in zip(engines, gradients, strict=True):
            if engine.sharded is not None:
                engine.sharded.backward(engine.sharded(*own))
            norms.append(norm_of(own if engine.sharded is not None else [weight.grad for weight in engine.parameters]))
        return norms

    def step(self, engines: Sequence[Engine]) -> list[float]:
        """Clip and step `engines`, all or some of those just `receive`d; returns the learning rates used."""
        rates = [float(engine.schedule.get_last_lr()[0]) for engine in engines]
        learning = {id(engine) for engine in engines}
        for engine in self._together:
            if id(engine) not in learning:
                _forget(engine)
            elif engine.training.clip_norm > 0:
                _clip(engine.parameters, engine.training.clip_norm)
        if self._joint is not None:
            self._joint.step()
        for engine in engines:
            if engine.sharded is not None:
                engine.sharded.step()
            engine.schedule.step()
        return rates


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def norm_of(gradients: Sequence[Tensor | None]) -> Tensor:
    """Joint norm of all gradients of one head, a scalar on their device."""
    return torch.nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])


def _clip(weights: Sequence[nn.Parameter], largest: float) -> None:
    # Bit-identical to DeepSpeed's `clip_grad_norm_`, which would wait to read the norm on the host.
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = torch.stack(torch._foreach_norm(gradients)).pow(2.0).sum().pow(0.5)
    factor = torch.div(norm.new_full((), largest), norm + 1e-6).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)


def _forget(engine: Engine) -> None:
    for weight in engine.parameters:
        weight.grad = None


class _Together(torch.optim.Optimizer):
    """Several heads' optimizers as one; a head without gradients stays unchanged."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._optimizers = [engine.optimizer for engine in engines]
        super().__init__([group for own in self._optimizers for group in own.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        del closure
        for own in self._optimizers:
            own.step()


def _initialize(engines: Sequence[Engine], optimizer: Any, config: Mapping[str, Any]) -> Any:
    deepspeed = _import_deepspeed()
    heads = nn.ModuleList([engine.head for engine in engines])
    engine, *_ = deepspeed.initialize(
        model=_Handover(heads), optimizer=optimizer, config=dict(config), dist_init_required=False
    )
    return engine


class _Handover(nn.Module):
    """The model that DeepSpeed gets: its "loss" is a scalar whose backward pass returns the gradients passed in."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, *gradients: Tensor | None) -> Tensor:
        weights = list(self.heads.parameters())
        loss: Tensor = _Hand.apply(len(weights), *weights, *gradients)
        return loss


class _Hand(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, count: int, *weights_and_gradients: Any) -> Any:
        ctx.gradients = weights_and_gradients[count:]
        return weights_and_gradients[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        # The incoming factor is 1: float32 needs no loss scaling, and no gradients are accumulated.
        return (None, *ctx.gradients, *[None] * len(ctx.gradients))


def _import_deepspeed() -> Any:
    os.environ.setdefault("DS_BUILD_OPS", "0")
    if choose_device().type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # By default it tries to compile all its ops, and builds a shared-memory all-reduce at first use: this takes half a
    # minute, and fails on a machine without a compiler. Heads need none of them.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
