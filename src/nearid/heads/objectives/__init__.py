"""Training objectives, one module each; an id in the config is the name of the module (spec losses.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from nearid.errors import UserError
from nearid.heads.pools import Batch, normalise

__all__ = ["Terms", "create"]


class Terms(ABC):
    """An objective as a weighted sum of named terms.

    Called with raw (unnormalised) head outputs `anchor [b, dim]`, `positives [b, p, dim]`, `distractors [b, k, dim]`
    and their masks; gives a scalar. Over several ranks the average of the ranks' values and gradients is the value
    and gradient of one device. Computed in float32 or wider, whatever autocast says (spec losses.md, D12).
    """

    # Whether padding slots enter the pools, so that they must be encoded like images (spec losses.md, D5).
    reads_padding: bool = False

    @abstractmethod
    def weights(self) -> dict[str, float]:
        """The factor of each term."""

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The unweighted terms, one scalar per key of `weights`."""

    def parts(
        self,
        anchor: Tensor,
        positives: Tensor,
        distractors: Tensor,
        positive_mask: Tensor,
        distractor_mask: Tensor,
        severity: Tensor | None = None,
        picks: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its unweighted terms."""
        with torch.autocast(anchor.device.type, enabled=False):
            x, y, z = normalise(anchor), normalise(positives), normalise(distractors)
            terms = self.terms(Batch(x, y, z, positive_mask, distractor_mask, severity, picks))
            loss = torch.stack([weight * terms[name] for name, weight in self.weights().items()]).sum()
        return loss, terms

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss; arguments as in `parts`."""
        return self.parts(*args, **kwargs)[0]


def create(name: str, **params: Any) -> Terms:
    """The objective `name` with its parameters, e.g. `create("nearid", alpha=0.5)`.

    Raises:
        UserError: no such objective, or a parameter that it does not have.
    """
    if not name.isidentifier() or find_spec(f"{__name__}.{name}") is None:
        raise UserError(
            f"objective {name}", "no such module", f"a file {name}.py in {__name__}", "add it or mend the id"
        )
    try:
        return import_module(f"{__name__}.{name}").Objective(**params)
    except TypeError as error:
        raise UserError(
            f"objective {name}", str(error), "its own parameters only", "mend the ablation's params"
        ) from error
