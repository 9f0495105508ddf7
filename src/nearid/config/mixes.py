"""What a training mixture draws from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def drawn_sources(mix: Mapping[str, Any]) -> list[str]:
    """The sources whose distractors a mix draws, beside the positives."""
    return list(mix["sources"]) if mix["nearid_repeats"] else []


def mixed_collections(mix: Mapping[str, Any]) -> list[str]:
    """The collections of images that its samples come from."""
    sources = drawn_sources(mix)
    return [*(["positives", *sources] if sources else []), *(["mtg_train"] if mix["mtg_repeats"] else [])]
