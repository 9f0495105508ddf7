"""From files to one checked config with every default filled in."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nearid.config.downloads import named_downloads
from nearid.config.facts import known_download
from nearid.config.gaps import leave_out
from nearid.config.references import check_named, check_references, nearest
from nearid.config.shorthand import write_out_entries, write_out_lists
from nearid.errors import UserError, harmless
from nearid.io.yaml_files import LOADER, MAX_DEPTH, read_yaml

BASE = Path("config.yaml")
_SCHEMA = Path(__file__).with_name("schema.yaml")
Config = dict[str, Any]
# An overlay of a kilobyte may name one list in another a billion times.
_MAX_VALUES = 100_000


@functools.cache
def schema() -> dict[str, Any]:
    """The closed JSON schema of the config."""
    return yaml.load(_SCHEMA.read_text(), LOADER)


def load(*overlays: Path | str) -> Config:
    """Read `config.yaml`, put `overlays` on top in order (mappings merged, lists replaced) and check the whole.

    Raises:
        UserError: a file is missing or is no YAML mapping, a key is unknown, a value does not fit, an id is unknown.
    """
    config: Config = {}
    for path in (BASE, *map(Path, overlays)):
        config = _merge(config, _read(path))
    return complete(config)


def complete(config: Mapping[str, Any]) -> Config:
    """Check `config` (as Snakemake merged it) and write out what it leaves to defaults, those of the schema included.

    Raises:
        UserError: where, found, expected, next.
    """
    _check_values(config)
    whole = copy.deepcopy(dict(config))
    write_out_entries(whole)
    check_schema(whole)
    write_out_lists(whole)
    _fill_defaults(whole, schema())
    for name in named_downloads(whole):
        if name not in whole["downloads"] and (known := known_download(name)):
            whole["downloads"][name] = known
    _fill_defaults(whole["downloads"], schema()["properties"]["downloads"])
    if whole["photos_dir"]:
        whole["dataset"]["image_folder"]["path"] = whole["photos_dir"]
    settle(whole)
    return whole


def settle(config: Config) -> None:
    """Take out what is left out, and check the rest; for a complete config."""
    check_named(config)
    leave_out(config)
    check_references(config)


def results_folder(config: Config) -> Path:
    """`results/<name>`."""
    return Path(config["results_dir"]) / config["name"]


def resolve(part: Mapping[str, Any]) -> dict[str, Any]:
    """A schema part with its `$ref` replaced by what it points to; keys beside the `$ref` win."""
    if "$ref" not in part:
        return dict(part)
    return {**resolve(schema()["$defs"][part["$ref"].rsplit("/", 1)[1]]), **part}


def _read(path: Path) -> Config:
    try:
        content = read_yaml(path, "a YAML mapping")
    except FileNotFoundError:
        raise UserError(path, "no such file", "a YAML file; run from the repository's root", "check the path") from None
    if not isinstance(content, dict):
        raise UserError(path, type(content).__name__, "a YAML mapping", "correct the file")
    return content


def _check_values(config: Mapping[str, Any]) -> None:
    """Numbers are finite, text holds nothing that a terminal would obey, and all of it is of a bounded size."""
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
            raise UserError(_where(path), str(value), "a finite number", "correct the value")
        elif isinstance(value, str) and harmless(value) != value:
            raise UserError(_where(path), value, "text without control characters", "correct the value")
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


def _fill_defaults(value: Any, part: Mapping[str, Any]) -> None:
    part = resolve(part)
    if not isinstance(value, dict):
        return
    known = part.get("properties", {})
    for key, inner in known.items():
        inner = resolve(inner)
        if key not in value and "default" in inner:
            value[key] = copy.deepcopy(inner["default"])
    others = part.get("additionalProperties")
    for key, inner_value in value.items():
        inner = known.get(key, others if isinstance(others, dict) else {})
        _fill_defaults(inner_value, inner)


def check_schema(config: Mapping[str, Any]) -> None:
    """Whether `config` fits the schema, ids among them.

    Raises:
        UserError: the first thing that does not.
    """
    validator = jsonschema.Draft202012Validator(schema())
    error = min(validator.iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.message)), default=None)
    if error is not None:
        raise _explain(error)


def _explain(error: jsonschema.ValidationError) -> UserError:
    path = list(error.absolute_path)
    part, value = error.schema, error.instance
    if error.validator == "additionalProperties":
        known = list(part["properties"])
        unknown = next(key for key in value if key not in known)
        return UserError(
            _where([*path, unknown]), f"the unknown key `{unknown}`", nearest(unknown, known), "correct the key's name"
        )
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in value)
        return UserError(_where([*path, missing]), "nothing", "this key; it has no default", "add it")
    if error.validator == "propertyNames" or (error.validator == "pattern" and "propertyNames" in error.schema_path):
        return UserError(_where(path), f"the id {value!r}", "an id of a-z, 0-9 and _", "rename it")
    expected = error.message
    if error.validator == "type":
        expected = f"a value of type {error.validator_value}"
        if isinstance(value, str) and error.validator_value in ("number", "integer"):
            expected += " (YAML takes 1e-4 for text: write 1.0e-4; --config can only set keys at the top)"
        if path == ["photos_dir"]:
            expected = "the name of a folder; --config takes digits alone, and 2024_11, for a number"
            return UserError(_where(path), repr(value), expected, "write ./ in front: photos_dir=./2024_11")
    elif error.validator == "enum":
        expected = nearest(value, error.validator_value)
    hint = part.get("description")
    return UserError(_where(path), repr(value), expected + (f": {hint}" if hint else ""), "correct the value")


def _where(path: Iterable[object]) -> str:
    return "config, key " + (".".join(map(str, path)) or "(top)")
