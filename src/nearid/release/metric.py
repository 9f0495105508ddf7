"""`NearIDScore`: how well a generator preserves identity, as a metric in a training loop."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearid.errors import UserError
from nearid.release.model import IdentityModel, load


class _Metric(nn.Module):
    """The part of `torchmetrics.Metric` that the score needs; it sums over ranks in `compute`."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        if options:
            raise UserError(
                "NearIDScore", f"the options {sorted(options)}", "none without torchmetrics", "install torchmetrics"
            )
        self._names: list[str] = []

    def add_state(self, name: str, default: Tensor, dist_reduce_fx: str) -> None:
        assert dist_reduce_fx == "sum"
        self.register_buffer(name, default.clone(), persistent=False)
        self._names.append(name)

    def reset(self) -> None:
        """Forget all pairs."""
        for name in self._names:
            getattr(self, name).zero_()

    def forward(self, *images: Any) -> Tensor:
        """`update`, and the value of this batch alone."""
        kept = {name: getattr(self, name).clone() for name in self._names}
        self.reset()
        try:
            self.update(*images)
            return self._value({name: getattr(self, name).clone() for name in self._names})
        finally:
            for name, state in kept.items():
                getattr(self, name).add_(state)

    def update(self, *images: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def _value(states: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def compute(self) -> Tensor:
        states = {name: getattr(self, name).clone() for name in self._names}
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for state in states.values():
                torch.distributed.all_reduce(state)
        return self._value(states)


def _base() -> Any:
    # Imported by name, since torchmetrics is optional.
    try:
        return import_module("torchmetrics").Metric
    except ImportError:
        return _Metric


class NearIDScore(_base()):  # type: ignore[misc]
    """Mean cosine of generated images with the references whose identity they should keep; higher is better.

    A `torchmetrics.Metric` if torchmetrics is installed, else the same interface (`update`, `compute`, `reset`,
    `forward`) without collections. Sums are kept in float64 and added over ranks.

    Args:
        model: an `IdentityModel`, or an argument of `nearid.load`.
        options: of `torchmetrics.Metric`.

    Example:
        >>> score = NearIDScore("results/demo/heads/nearid")  # doctest: +SKIP
        >>> # lists of images, or tensors [n, 3, h, w] in [0, 1]
        >>> score.update(references, generated)  # doctest: +SKIP
        >>> score.compute()  # doctest: +SKIP
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, model: IdentityModel | str | Path, **options: Any) -> None:
        super().__init__(**options)
        # Not a submodule: a metric is saved and moved with a training's own model, and this model should not be.
        object.__setattr__(self, "identity", model if hasattr(model, "embed") else load(model))
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, references: Any, generated: Any) -> None:
        """Add pairs: image i of `references` with image i of `generated`.

        Raises:
            UserError: they differ in number, or an image cannot be read.
        """
        first, second = list(references), list(generated)
        if len(first) != len(second):
            raise UserError(
                "NearIDScore.update", f"{len(first)} and {len(second)} images", "as many of each", "give pairs"
            )
        if not first:
            return
        vectors = torch.from_numpy(self.identity.embed([*first, *second])).double()
        cosines = (vectors[: len(first)] * vectors[len(first) :]).sum(-1)
        self.total += cosines.sum().to(self.total.device)
        self.count += len(first)

    def compute(self) -> Tensor:
        """The mean over all pairs so far; NaN if there were none."""
        # torchmetrics sums the states over ranks before it calls this; `_Metric` does it in its own `compute`.
        return self._value({"total": self.total, "count": self.count}) if _base() is not _Metric else super().compute()

    @staticmethod
    def _value(states: dict[str, Tensor]) -> Tensor:
        return (states["total"] / states["count"]).float()
