"""Errors of pydantic as errors of ours: where, what was found, what was expected, what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nearid.config.references import nearest, place
from nearid.config.schema import Root
from nearid.config.schema.walking import find, texts_of
from nearid.config.types import Config
from nearid.errors import UserError

if TYPE_CHECKING:
    from pydantic import ValidationError

Found = Mapping[str, Any]
"""One error of pydantic: `type`, `loc`, `input`, `msg` and `ctx`."""
_TYPES = {
    **dict.fromkeys(("int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
}
_LIMITS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "too_short": "a list of {min_length}",
    "too_long": "a list of {max_length}",
}


def explain(error: ValidationError, config: Config) -> UserError:
    """The first of the mistakes nearest to the top level; all errors about one key are one mistake."""
    found: dict[tuple[str | int, ...], list[Found]] = {}
    for each in error.errors(include_url=False):
        found.setdefault(tuple(find(each["loc"], config, Root)[0]), []).append(each)
    first = min(found, key=lambda path: (len(path), *map(str, path)))
    return _explain(first, found[first], config)


def _explain(path: tuple[str | int, ...], errors: list[Found], config: Config) -> UserError:
    _, block = find(path, config, Root)
    kind, value = errors[0]["type"], errors[0]["input"]
    if kind == "extra_forbidden" and block is not None:
        known = nearest(path[-1], block.model_fields)
        return UserError(place(path), f"the unknown key `{path[-1]}`", known, "correct the key's name")
    if kind == "missing":
        return UserError(place(path), "nothing", "this key; it has no default", "add it")
    if kind == "string_pattern_mismatch" and "a-z0-9_" in errors[0]["ctx"]["pattern"]:
        return UserError(place(path), f"the id {value!r}", "an id of a-z, 0-9 and _", "rename it")
    if path == ("photos_dir",):
        expected = "the name of a folder; --config takes digits alone, and 2024_11, for a number"
        return UserError(place(path), repr(value), expected, "write ./ in front: photos_dir=./2024_11")
    expected = " or ".join(dict.fromkeys(_expected(each) for each in errors))
    if isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", value):
        expected += " (YAML takes 1e-4 for text: write 1.0e-4; --config can only set keys at the top)"
    text = texts_of(block).get(str(path[-1])) if block else None
    return UserError(place(path), repr(value), expected + (f": {text}" if text else ""), "correct the value")


def _expected(error: Found) -> str:
    kind = error["type"]
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**error["ctx"])
    if kind == "literal_error":
        known = [text or number for text, number in re.findall(r"'([^']*)'|(\d+)", error["ctx"]["expected"])]
        return nearest(error["input"], known)
    if kind == "string_pattern_mismatch":
        return f"text like {error['ctx']['pattern']}"
    return error["msg"].removeprefix("Value error, ")
