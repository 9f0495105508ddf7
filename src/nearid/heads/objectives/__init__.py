"""Training objectives, one module each; an id in the config is the name of the module (docs/losses.md)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, TypeGuard

import torch
from torch import Tensor

from nearid.errors import UserError
from nearid.heads.pools import Batch, mean_cosines, normalise

__all__ = ["BatchLoss", "Loss", "create"]


class BatchLoss(NamedTuple):
    """The loss of one batch, and what a log shows of it.

    Args:
        loss: the scalar to minimise.
        terms: the unweighted terms.
        cosines: means of the anchors' cosines with their positives, distractors and other identities; no gradient.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    cosines: dict[str, Tensor]


class Loss(ABC):
    """A weighted sum of named terms; each module here defines one subclass.

    Called with raw (unnormalised) head outputs `anchor [b, dim]`, `positives [b, p, dim]`, `distractors [b, k, dim]`
    and their masks; returns a scalar. The average of several ranks' values and gradients equals the value and gradient
    of one device. Computed in float32 or wider, even under autocast, unless another precision is requested.
    """

    # Whether the pools include padding slots, which then must be encoded like images (docs/losses.md D5).
    reads_padding: bool = False
    # Whether it needs the distractors' `severity`.
    reads_severity: ClassVar[bool] = False

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
        owners: Tensor | None = None,
        precision: torch.dtype = torch.float32,
    ) -> BatchLoss:
        """The loss, its unweighted terms, and what a log shows of the batch.

        With `precision` float16 or bfloat16, autocast computes products (so the logits) in it, like the authors' code.
        """
        with torch.autocast(anchor.device.type, dtype=precision, enabled=precision != torch.float32):
            x, y, z = normalise(anchor), normalise(positives), normalise(distractors)
            batch = Batch(x, y, z, positive_mask, distractor_mask, severity, picks, owners)
            terms = self.terms(batch)
            loss = torch.stack([weight * terms[name] for name, weight in self.weights().items()]).sum()
            return BatchLoss(loss, terms, mean_cosines(batch))

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The loss; arguments as in `parts`."""
        return self.parts(*args, **kwargs).loss


def create(name: str, **params: Any) -> Loss:
    """The loss of the module `name` with its parameters.

    >>> create("nearid", alpha=0.25)
    NearIDLoss(alpha=0.25, beta=0.0, temperature=0.07, padding='exclude', ranking='pairs', cohesion='anchors')


    Raises:
        UserError: no such objective, or a parameter that it does not have.
    """
    if not name.isidentifier() or find_spec(f"{__name__}.{name}") is None:
        raise UserError(
            f"objective {name}", "no such module", f"a file {name}.py in {__name__}", "add it or correct the id"
        )
    module = import_module(f"{__name__}.{name}")
    loss = next(kind for kind in vars(module).values() if _is_defined_in(module, kind))
    try:
        return loss(**params)
    except TypeError as error:
        raise UserError(
            f"objective {name}", str(error), "its own parameters only", "correct the ablation's params"
        ) from error


def _is_defined_in(module: ModuleType, kind: object) -> TypeGuard[type[Loss]]:
    return isinstance(kind, type) and issubclass(kind, Loss) and kind.__module__ == module.__name__
