"""Loads a config: merges its files, checks the whole and fills in every default."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearid.config.downloads import named_downloads
from nearid.config.facts import known_download
from nearid.config.gaps import leave_out
from nearid.config.references import check_named, check_references, place
from nearid.config.shorthand import write_out_entries, write_out_lists
from nearid.config.types import Config, MutableConfig
from nearid.errors import UserError, harmless
from nearid.io.yaml_files import MAX_DEPTH, read_yaml

BASE = Path("config.yaml")
# Aliases let an overlay of a kilobyte expand to a billion values.
_MAX_VALUES = 100_000


def load(*overlays: Path | str) -> MutableConfig:
    """Read `config.yaml`, apply `overlays` on top in order (mappings merged, lists replaced) and check the whole.

    Raises:
        UserError: a file is missing or is no YAML mapping, a key is unknown, a value does not fit, an id is unknown.
    """
    config: MutableConfig = {}
    for path in (BASE, *map(Path, overlays)):
        config = _merge(config, _read(path))
    return complete(config)


def complete(config: Config) -> MutableConfig:
    """Check `config` (as Snakemake merged it), write out its shorthand and fill in all defaults.

    Raises:
        UserError: where, found, expected, next.
    """
    from nearid.config import schema  # here, since jobs that are given their settings do not need it
    from nearid.config.schema.walking import fill_defaults

    _check_values(config)
    whole = copy.deepcopy(dict(config))
    write_out_entries(whole)
    check_schema(whole)
    write_out_lists(whole)
    fill_defaults(whole, schema.Root)
    for name in named_downloads(whole):
        if name not in whole["downloads"] and (known := known_download(name)):
            fill_defaults(known, schema.Download)
            whole["downloads"][name] = known
    if whole["photos_dir"]:
        whole["dataset"]["image_folder"]["path"] = whole["photos_dir"]
    settle(whole)
    return whole


def settle(config: MutableConfig) -> None:
    """Apply `select.drop` to a complete config, and check what remains."""
    check_named(config)
    leave_out(config)
    check_references(config)


def results_folder(config: Config) -> Path:
    """`results/<name>`."""
    return Path(config["results_dir"]) / config["name"]


def _read(path: Path) -> MutableConfig:
    try:
        content = read_yaml(path, "a YAML mapping")
    except FileNotFoundError:
        raise UserError(path, "no such file", "a YAML file; run from the repository's root", "check the path") from None
    if not isinstance(content, dict):
        raise UserError(path, type(content).__name__, "a YAML mapping", "correct the file")
    return content


def _check_values(config: Config) -> None:
    """Check that numbers are finite, texts have no control characters, and the size is bounded."""
    waiting: list[tuple[tuple[object, ...], Any]] = [((), config)]
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        path, value = waiting.pop()
        if len(path) > MAX_DEPTH:
            break
        if isinstance(value, Mapping):
            waiting += [((*path, key), inner) for key, inner in value.items()]
            waiting += [((*path, "a key"), key) for key in value]
        elif isinstance(value, list | tuple):
            waiting += [((*path, at), inner) for at, inner in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(place(path), str(value), "a finite number", "correct the value")
        elif isinstance(value, str) and harmless(value) != value:
            raise UserError(place(path), value, "text without control characters", "correct the value")
    raise UserError(
        "the config",
        f"more than {_MAX_VALUES:,} values, or {MAX_DEPTH} levels",
        "fewer: the paper's config has three thousand",
        "look for aliases (`*name`)",
    )


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return {key: _merge(below.get(key), above[key]) if key in above else below[key] for key in [*below, *above]}


def check_schema(config: Config) -> None:
    """Check `config` and its ids against the schema.

    Raises:
        UserError: the first mistake.
    """
    from pydantic import ValidationError

    from nearid.config import schema

    try:
        schema.Root.model_validate(config)
    except ValidationError as error:
        from nearid.config.mistakes import explain

        raise explain(error, config) from None
