"""What is known of each download: where it lies, commit, files, size and licence, with the source (facts.yaml)."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

_FACTS = Path(__file__).with_name("facts.yaml")


@functools.cache
def download_facts() -> Mapping[str, Mapping[str, Any]]:
    """Facts by id of the download."""
    return yaml.safe_load(_FACTS.read_text())  # type: ignore[no-any-return]


def odd_files(download: str, files: Iterable[str]) -> list[str]:
    """What of a repository's `files` is not as known: `no file matches ...`, then `... is not known`.

    Empty as well for a download of which nothing is known.
    """
    listed, known = list(files), download_facts().get(download, {}).get("files", {})
    if not known:
        return []
    missing = [pattern for pattern in known["needed"] if not fnmatch.filter(listed, pattern)]
    patterns = [*known["needed"], *known["other"]]
    extra = [name for name in listed if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    return [f"no file matches {pattern}" for pattern in missing] + [f"{name} is not known" for name in extra]
