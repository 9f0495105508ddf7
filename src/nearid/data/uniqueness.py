"""One identity per asset and per foreground text (docs/protocol.md 1.2): SynCD uses some assets twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nearid.data.records import UNIQUE, Dropped

logger = logging.getLogger(__name__)


def drop_duplicates(rows: Sequence[Mapping[str, Any]], how: str | None) -> tuple[list[int], list[Dropped]]:
    """Positions of the rows to keep, the first of each repetition, and what was dropped.

    Args:
        rows: with `name`, `objaverse_id` and `category_description`.
        how: `each`: no asset twice and no text twice; `pair`: no asset twice with the same text; None: keep all.
    """
    if how is None:
        return list(range(len(rows))), []
    results = {name: _find(rows, name) for name in ("each", "pair")}
    counts = ", ".join(f"{name} {len(found)}" for name, found in results.items())
    logger.info("repeated identities: %s; dedupe is %s", counts, how)
    again = results[how]
    dropped = [Dropped(rows[at]["name"], "", reason, UNIQUE) for at, reason in again.items()]
    return [at for at in range(len(rows)) if at not in again], dropped


def _find(rows: Sequence[Mapping[str, Any]], how: str) -> dict[int, str]:
    seen: dict[tuple[str, ...], str] = {}
    again: dict[int, str] = {}
    for at, row in enumerate(rows):
        asset, text = ("asset", row["objaverse_id"]), ("text", normalise(row["category_description"]))
        keys = [asset, text] if how == "each" else [(*asset, *text)]
        if repeated := [key for key in keys if key in seen]:
            what = " and ".join(key[0] for key in repeated) if how == "each" else "asset and text"
            again[at] = f"same {what} as {seen[repeated[0]]}"
            continue
        seen |= dict.fromkeys(keys, row["name"])
    return again


def normalise(text: str) -> str:
    """`text` in lower case, without outer or repeated white space: texts equal in this form count as the same."""
    return " ".join(text.lower().split())
