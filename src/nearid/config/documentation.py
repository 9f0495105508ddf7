"""config/README.md and config/schema.json, made from the models of the config so that they cannot differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from nearid.config.schema import AnySource, Root
from nearid.config.schema.base import ID_PATTERN, ConfigBlock, Id
from nearid.config.schema.sources import Source
from nearid.config.schema.walking import Model, members_of, model_of, texts_of, type_of

_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean"}

_HEAD = """# Config

Made from `src/nearid/config/schema` (`make docs`); do not edit.

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
| `config/ratings.yaml` | agreement with human raters, from released ratings alone: 4 MB, a minute on a CPU |
| `config/released.yaml` | the paper's run on the authors' released sets: nothing is painted |
| `config/released.yaml config/calibrate.yaml` | their released head, frozen encoders: nothing is trained either |
| `config/plain.yaml` | training without augmentation, from cached tokens (not the paper's) |
| `config/augmented.yaml` | augmentation from the cache: four draws of each training image |
| `config/demo.yaml config/online.yaml` | augmentation in every training step, for overlays that train without it |
| `config/sensitivity.yaml` | the headline head under each open choice (docs/decisions.md) |

`plain` and `augmented` are used alone or after another overlay. `config/backbone.yaml` is no overlay: it says how the
demo's backbone was pretrained (`make demo-backbone`).

- Numbers: write `1.0e-4`; YAML reads `1e-4` as text.
- `--config key=value` sets only top-level keys (`name`, `seed`, `photos_dir`, …); for nested keys write an overlay.
- An id (`<id>`) is a key of a catalogue, `[a-z0-9_]+`; some (engine, objective, kind, …) are also names of modules.
- An editor with the YAML language server completes keys and marks mistakes with `config/schema.json`; name it in the
  first line of an overlay: `# yaml-language-server: $schema=config/schema.json`.
- `nearid config check OVERLAY…` checks a config, `nearid config show OVERLAY…` prints it with all defaults.

| key | type | default | meaning |
|---|---|---|---|
"""


def document() -> str:
    """The text of config/README.md."""
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in _rows(Root, ""))


def json_schema() -> str:
    """The text of config/schema.json: what an editor offers and marks, in config.yaml and in overlays of a few keys."""
    whole = Root.model_json_schema()
    models: dict[str, Model] = {"Root": Root, **{model.__name__: model for model in _models_below(Root)}}
    for name, part in (("Root", whole), *whole["$defs"].items()):
        texts = texts_of(models[name])
        for key, inner in part.get("properties", {}).items():
            inner.pop("default", None) if inner.get("default", "") is None else None
            inner |= {"description": texts[key]} if key in texts else {}
    whole["$defs"]["OwnSource"]["properties"]["engine"]["not"] = {"enum": list(members_of(get_args(AnySource)[0]))[:-1]}
    return json.dumps(_loosen(whole), indent=1, ensure_ascii=False) + "\n"


def _loosen(part: Any) -> Any:
    """The schema with nothing required, since an overlay has few keys; JavaScript's form of patterns; no titles."""
    if isinstance(part, list):
        return [_loosen(each) for each in part]
    if not isinstance(part, dict):
        return part.replace("\\Z", "$") if isinstance(part, str) else part
    dropped = (
        ("required", "title") if "properties" in part or "type" in part or "$ref" in part or "anyOf" in part else ()
    )
    kept = {key: value for key, value in part.items() if key not in dropped or isinstance(value, dict)}
    if "patternProperties" in part:
        kept["additionalProperties"] = False
    return {{"oneOf": "anyOf"}.get(key, key).replace("\\Z", "$"): _loosen(value) for key, value in kept.items()}


def _models_below(model: Model) -> Iterator[Model]:
    for field in model.model_fields.values():
        for inner in _blocks(type_of(field)):
            yield inner
            yield from _models_below(inner)


def _blocks(kind: Any) -> list[Model]:
    """The models of a key's block, or of the entries of its catalogue: several where they depend on an engine."""
    if get_origin(kind) is dict:
        return _blocks(get_args(kind)[1])
    if get_origin(kind) is Annotated and (members := members_of(get_args(kind)[0])):
        return list(members.values())
    model = model_of(kind, None)
    return [] if model is None else [model]


def _rows(model: Model, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for key, field in model.model_fields.items():
        kind = type_of(field)
        yield f"`{prefix}{key}`", _type(kind), _default(field), texts_of(model).get(key, "")
        blocks = _blocks(kind)
        below = f"{prefix}{key}.<id>." if get_origin(kind) is dict else f"{prefix}{key}."
        if len(blocks) == 1:
            yield from _rows(blocks[0], below)
        elif blocks:
            yield from _rows_by_engine(blocks, below)


def _rows_by_engine(sources: list[Model], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """The keys that all sources have, then each option with the engines that have it."""
    yield from _rows(Source, prefix)
    options: dict[tuple[str, str, str], list[str]] = {}
    for source in sources:
        (block,) = _blocks(type_of(source.model_fields["options"]))
        for key, field in block.model_fields.items():
            (engine,) = get_args(source.model_fields["engine"].annotation)
            options.setdefault((key, _type(type_of(field)), texts_of(block)[key]), []).append(engine)
    for (key, kind, text), engines in sorted(options.items(), key=lambda item: -len(item[1])):
        yield f"`{prefix}options.{key}`", kind, "", f"{', '.join(f'`{each}`' for each in engines)}: {text}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return "" if default is None else f"`{json.dumps({} if isinstance(default, ConfigBlock) else default)}`"


def _type(kind: Any) -> str:
    if kind == Id:
        return "id"
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin is Annotated:
        is_id = any(getattr(mark, "pattern", None) == ID_PATTERN for mark in parts[1:])
        return "id" if is_id else "object" if members_of(parts[0]) else _type(parts[0])
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "mapping by id"
    if origin in (Union, UnionType):
        return " or ".join(map(_type, parts))
    return "object" if model_of(kind, None) else _NAMES.get(kind, "")
