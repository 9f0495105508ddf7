"""The downloads that a step's settings name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nearid.config.types import Config
from nearid.errors import UserError

FOLDER = "resources/"


def required_downloads(settings: Any, config: Config) -> list[str]:
    """Ids of the downloads whose paths, `resources/<id>/…`, occur in `settings`.

    Raises:
        UserError: such a path names no entry of `downloads`.
    """
    ids = named_downloads(settings)
    for name in ids:
        if name not in config["downloads"]:
            raise UserError(
                "config, a path", f"{FOLDER}{name}", "an id in `downloads`, or a path elsewhere", "correct either"
            )
    return ids


def named_downloads(settings: Any) -> list[str]:
    """Ids in all paths `resources/<id>/…` in `settings`."""
    return sorted({text.removeprefix(FOLDER).split("/")[0] for text in _texts(settings) if text.startswith(FOLDER)})


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
