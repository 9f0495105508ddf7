"""What belongs to a key of the config: its model, its default, and its text."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import Discriminator, Tag
from pydantic.fields import FieldInfo

from nearid.config.schema.base import ConfigBlock

Model = type[ConfigBlock]


def fill_defaults(value: Any, model: Model) -> None:
    """Give every missing key its default, in `value` itself; for a config that fits its schema."""
    for key, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if key not in value and default is not None:
            value[key] = {} if isinstance(default, ConfigBlock) else copy.deepcopy(default)
    for key, inner in value.items():
        if key in model.model_fields:
            _fill_below(inner, type_of(model.model_fields[key]))


def _fill_below(value: Any, kind: Any) -> None:
    model = model_of(kind, value)
    if model is not None and isinstance(value, dict):
        fill_defaults(value, model)
    elif get_origin(kind) is dict and isinstance(value, dict):
        for inner in value.values():
            _fill_below(inner, get_args(kind)[1])


def type_of(field: FieldInfo) -> Any:
    """A field's type, with the metadata of its annotation."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def model_of(kind: Any, value: Any) -> Model | None:
    """The model by which a value of this type is checked; None if it is no block of the config."""
    if isinstance(kind, type) and issubclass(kind, ConfigBlock):
        return kind
    if get_origin(kind) is not Annotated:
        return None
    options, *marks = get_args(kind)
    for mark in marks:
        if isinstance(mark, Discriminator) and callable(mark.discriminator):
            return members_of(options)[str(mark.discriminator(value))]
    return model_of(options, value)


def members_of(union: Any) -> dict[str, Model]:
    """The models of a union by their tags."""
    members = [get_args(member) for member in get_args(union)]
    return {mark.tag: parts[0] for parts in members for mark in parts[1:] if isinstance(mark, Tag)}


def find(path: Iterable[str | int], config: Any, model: Model) -> tuple[list[str | int], Model | None]:
    """Where the path of a pydantic error leads in a config: that path in the config, and the block that holds its end.

    Pydantic's paths also have tags of unions and names of the types that it tried, which are no keys of the config.
    """
    kind: Any = model
    found: list[str | int] = []
    block: Model | None = None
    for part in path:
        here, plain = model_of(kind, config), get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if here is not None and part in here.model_fields:
            kind, block = type_of(here.model_fields[str(part)]), here
        elif get_origin(plain) in (dict, list) and part != "[key]":
            kind, block = get_args(plain)[-1], None
        elif here is not None and isinstance(config, Mapping) and part in config:
            kind, block = Any, here  # a key that it does not know
        else:
            continue
        found.append(part)
        config = _inside(config, part)
    return found, block


def _inside(config: Any, part: str | int) -> Any:
    if isinstance(config, Mapping):
        return config.get(part)
    return config[part] if isinstance(config, list) and isinstance(part, int) and part < len(config) else None


@functools.cache
def texts_of(model: Model) -> dict[str, str]:
    """The text of each key of a model, its parents' keys included."""
    texts: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, ConfigBlock) and each is not ConfigBlock:
            texts |= _texts_in(each.__module__).get(each.__name__, {})
    return texts


@functools.cache
def _texts_in(module: str) -> dict[str, dict[str, str]]:
    """Texts by class and key: a text is the string below its key."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        each.name: {
            key.target.id: " ".join(text.value.value.split())
            for key, text in zip(each.body, each.body[1:], strict=False)
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        }
        for each in tree.body
        if isinstance(each, ast.ClassDef)
    }
