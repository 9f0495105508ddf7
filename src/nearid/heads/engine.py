"""The DeepSpeed engine of one head: AdamW, warm-up and cosine, explicit precision, stage and clipping."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup

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
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": batch // ranks.size,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": float(training["clip_norm"]),
        # A head has 15 M weights at most: sharding them costs more than it saves (spec performance.md 5).
        "zero_optimization": {"stage": 0},
        "fp16": {"enabled": False},
        "bf16": {"enabled": False},
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }


@dataclass
class Engine:
    """A head that learns.

    Args:
        head: the module, updated in place.
        training: settings `learning_rate`, `weight_decay`, `warmup_steps`, `clip_norm`, `batch_size`.
        steps: of the whole training; the learning rate reaches zero behind the last.
        ranks: this process among its fellows, already joined.
        before: what `state()` gave, to go on from.
    """

    head: nn.Module
    training: Mapping[str, Any]
    steps: int
    ranks: Ranks
    before: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        deepspeed = _import_deepspeed()
        self.device = torch.device("cuda", self.ranks.local_rank) if torch.cuda.is_available() else torch.device("cpu")
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
            self.optimizer.load_state_dict(self.before["optimizer"])
            self.schedule.load_state_dict(self.before["schedule"])
        self._engine, *_ = deepspeed.initialize(
            model=self.head,
            optimizer=self.optimizer,
            lr_scheduler=self.schedule,
            config=deepspeed_config(self.training, self.ranks),
            dist_init_required=False,
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """Embeddings [n, dim] of tokens [n, tokens, dim]."""
        return self._engine(tokens)

    def learn(self, loss: Tensor) -> tuple[float, float]:
        """One step down the gradient of `loss`; the gradient's norm before clipping, and the learning rate used."""
        self._engine.backward(loss)
        gradients = [weight.grad for weight in self.head.parameters() if weight.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        rate = float(self.schedule.get_last_lr()[0])
        self._engine.step()
        return norm, rate

    def weights(self) -> dict[str, Tensor]:
        """The head's state dict on the CPU."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that a later `Engine` needs to go on as if nothing had happened."""
        return {
            "head": self.weights(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }


def _import_deepspeed() -> Any:
    os.environ.setdefault("DS_BUILD_OPS", "0")
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    # Left alone, it would try out a compiler on all its ops and build a shared-memory all-reduce at first use: half a
    # minute, and no start at all on a machine without compiler. A head needs none of them.
    deepspeed.ops.__compatible_ops__ = {}
    return deepspeed
