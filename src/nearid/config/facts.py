"""Facts about each download: place, commit, files, size and licence, with their source (facts.yaml)."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from nearid.io.yaml_files import LOADER

PLACES = {"hub", "git", "url", "hand"}
"""Keys of a download's entry, one of which says where it is."""
_FACTS = Path(__file__).with_name("facts.yaml")


@functools.cache
def download_facts() -> Mapping[str, Mapping[str, Any]]:
    """Facts by id of the download."""
    return yaml.load(_FACTS.read_text(), LOADER)  # type: ignore[no-any-return]


def known_download(name: str) -> dict[str, Any] | None:
    """An entry for the config's section `downloads`, made from the facts; None for an unknown download."""
    fact = download_facts().get(name)
    if fact is None:
        return None
    host, _, place = fact["where"].split(" ")[0].rstrip(",").partition("/")
    entry: dict[str, Any] = {"licence": fact["licence"], "revision": fact["commit"]}
    if "hand" in fact:
        entry["hand"] = fact["hand"]
    elif host == "github.com":
        entry["git"] = f"https://github.com/{place}"
        if folder := fact["where"].partition(", folder ")[2]:
            entry["folder"] = folder
    else:
        repository = place.removeprefix("datasets/")
        entry |= {"hub": repository, "kind": "model" if repository == place else "dataset"}
    if fact.get("fetch") == "needed":
        entry["files"] = fact["files"]["needed"]
    return entry | ({"unpack": True} if fact.get("unpack") else {})


def odd_files(download: str, files: Iterable[str]) -> list[str]:
    """How a repository's `files` differ from the facts: `no file matches ...`, then `... is not known`.

    Empty too for a download without facts.
    """
    listed, known = list(files), download_facts().get(download, {}).get("files", {})
    if not known:
        return []
    missing = [pattern for pattern in known["needed"] if not fnmatch.filter(listed, pattern)]
    patterns = [*known["needed"], *known["other"]]
    extra = [name for name in listed if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]
    return [f"no file matches {pattern}" for pattern in missing] + [f"{name} is not known" for name in extra]
