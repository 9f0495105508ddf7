"""Engines that paint distractors: one module each, found by its name.

An engine is `nearid.distractors.engines.<name>.Engine`, a `nearid.distractors.protocol.BaseEngine`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nearid.config.schema.sources import Options, OwnOptions
from nearid.errors import UserError

if TYPE_CHECKING:
    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source
    from nearid.distractors.pool import Pool
    from nearid.distractors.protocol import BaseEngine


def open_engine(source: Source[Any], dataset: AnyDataset, seed: int, pool: Pool) -> BaseEngine:
    """The engine that `source` names, made from its settings, the data set's settings and the data seed.

    Raises:
        UserError: an option that the engine does not have, or of the wrong type.
    """
    module = import_module(f"nearid.distractors.engines.{source.engine}")
    if isinstance(source.options, OwnOptions):
        source = source.model_copy(update={"options": _check_options(source, module.Engine.own_options)})
    engine: BaseEngine = module.Engine(source, dataset, seed, pool)
    return engine


def _check_options(source: Source[OwnOptions], kind: type[Options]) -> Options:
    try:
        return kind.model_validate(source.options.model_extra)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(
            f"options of a source with engine {source.engine}, {'.'.join(map(str, first['loc']))}",
            repr(first["input"]),
            f"{first['msg']}; options among {sorted(kind.model_fields)}",
            "correct or remove it, or choose the engine that it belongs to",
        ) from error
