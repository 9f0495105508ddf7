"""config/README.md, made from the schema so that the two cannot differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from nearid.config.loading import resolve, schema

_HEAD = """# Config

Made from `src/nearid/config/schema.yaml` (`make docs`); do not edit.

`config.yaml` is the paper's full reproduction. Files given with `--configfile` are applied on top of it, in order:
mappings are merged, lists are replaced. The schema is closed: a key that is not listed here is an
error that names the key.

Everything in the catalogues (`sources`, `ablations`, `scorers`, `groups`, tables and figures) is made, unless `select`
lists less. A new head, scorer or source is one entry: a head is a scorer of its own id, and `groups` and `shown_in` say
where a source or scorer takes part. `select: {drop: [ID]}` leaves one out everywhere; `select: {add: [ID]}` adds one to
what an overlay below lists.

| overlay | what it runs |
|---|---|
| `config/demo.yaml` | all stages on the embedded rendered set: two cores, no GPU, no hub (`make demo`) |
| `config/demo.yaml config/test.yaml` | the same graph on a few identities, a minute or two; its numbers mean nothing |
| `config/demo.yaml config/photos.yaml` | your own photographs: `--config photos_dir=PATH` (docs/own_images.md) |

- Numbers: write `1.0e-4`; YAML reads `1e-4` as text.
- `--config key=value` sets only top-level keys (`name`, `seed`, `photos_dir`, …); for nested keys write an overlay.
- An id (`<id>`) is a key of a catalogue, `[a-z0-9_]+`; some (engine, objective, kind, …) are also names of modules.
- `nearid config check OVERLAY…` checks a config, `nearid config show OVERLAY…` prints it with all defaults.

| key | type | default | meaning |
|---|---|---|---|
"""


def document() -> str:
    """The text of config/README.md."""
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in _rows(schema(), ""))


def _rows(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = part.get("required", ())
    for key, inner in part.get("properties", {}).items():
        inner = resolve(inner)
        yield (
            f"`{prefix}{key}`",
            _type(inner),
            f"`{json.dumps(inner['default'])}`" if "default" in inner else ("required" if key in required else ""),
            inner.get("description", ""),
        )
        yield from _below(inner, f"{prefix}{key}.")


def _below(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    yield from _rows(part, prefix)
    entry = part.get("additionalProperties")
    if isinstance(entry, dict):
        yield from _rows(resolve(entry), f"{prefix}<id>.")


def _type(part: Mapping[str, Any]) -> str:
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "anyOf" in part:
        return " or ".join(_type(resolve(option)) for option in part["anyOf"])
    if "const" in part:
        return f"`{part['const']}`"
    if part.get("type") == "array":
        return f"list of {_type(resolve(part['items']))}"
    if part.get("type") == "object" and isinstance(part.get("additionalProperties"), dict):
        return "mapping by id"
    if part.get("pattern") == schema()["$defs"]["id"]["pattern"]:
        return "id"
    return str(part.get("type", ""))
