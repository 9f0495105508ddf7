"""YAML from others: read within limits, or refused with one kind of error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nearid.errors import UserError
from nearid.io.sheets import decode_text

MAX_BYTES = 10_000_000
MAX_DEPTH = 50
"""Nesting of mappings and lists; libyaml's composer recurses and would end the process."""
# libyaml's parser if it is available, for speed: every cluster job reads the config again.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def read_yaml(path: Path, expected: str) -> Any:
    """The content of the YAML file `path`.

    Args:
        path: a file, no pipe.
        expected: for the error.

    Raises:
        UserError: it is no file, too large, or as in `parse_yaml`.
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if not path.is_file() or size > MAX_BYTES:
        found = f"{size:,} bytes" if path.is_file() else "no file"
        raise UserError(path, found, f"{expected} of at most {MAX_BYTES:,} bytes", "correct the path")
    return parse_yaml(decode_text(path.read_bytes(), path), path, expected)


def parse_yaml(text: str, where: object, expected: str) -> Any:
    """The content of `text`: plain values only, nested at most `MAX_DEPTH` deep.

    Raises:
        UserError: it is no YAML, has a value that Python cannot represent (a number of 5,000 digits, the 31st of
            February), or a key occurs twice in one mapping, of which YAML would silently use the second.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=LOADER):
            depth += isinstance(event, _OPENS) - isinstance(event, _CLOSES)
            if depth > MAX_DEPTH:
                raise UserError(where, f"more than {MAX_DEPTH} levels", expected, "correct the file")
        loader = LOADER(text)
        node = loader.get_single_node()
        if (key := _find_twice(node)) is not None:
            found = f"{key.value!r} twice in one mapping, the second time in line {key.start_mark.line + 1}"
            raise UserError(where, found, expected, "join the two, or remove one")
        return None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(where, f"no YAML: {error}", expected, "correct the file") from error


def _find_twice(node: yaml.Node | None) -> yaml.ScalarNode | None:
    """The first key that occurs twice in one mapping."""
    waiting, seen = [node], set()
    while waiting:
        if (node := waiting.pop()) is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(reversed(node.value))
        elif isinstance(node, yaml.MappingNode):
            keys = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if (key.tag, key.value) in keys:
                        return key
                    keys.add((key.tag, key.value))
                waiting.append(value)
    return None
