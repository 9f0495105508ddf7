"""Engines that paint distractors; one module per member, found by its name.

An engine is `nearid.distractors.engines.<name>.Engine`, a `nearid.distractors.protocol.BaseEngine`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nearid.errors import UserError

if TYPE_CHECKING:
    from nearid.distractors.pool import Pool
    from nearid.distractors.protocol import BaseEngine


def check_options(source: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """The options of `source`.

    Raises:
        UserError: one of them is not among those that its engine knows.
    """
    options: dict[str, Any] = source["options"]
    if unknown := sorted(set(options) - known):
        raise UserError(
            f"options of a source with engine {source['engine']}",
            f"{unknown}, which this engine does not know",
            f"options among {sorted(known)}",
            "remove them, or choose the engine that they belong to",
        )
    return options


def open_engine(source: dict[str, Any], dataset: dict[str, Any], seed: int, pool: Pool) -> BaseEngine:
    """The engine that `source` names, made from its settings, the data set's settings and the data seed."""
    module = import_module(f"nearid.distractors.engines.{source['engine']}")
    engine: BaseEngine = module.Engine(source, dataset, seed, pool)
    return engine
