"""Fetched folders as repositories of the hub, for other people's code that asks the hub itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0" * 40
"""The revision of each repository in the cache below; the fetched commit is recorded in the folder's own mark."""


@contextmanager
def served_offline(folders: Mapping[str, Path]) -> Iterator[None]:
    """In this context the hub's client finds each repository of `folders` locally, and makes no requests.

    The client looks into its cache first: here that is a temporary folder of links.

    Args:
        folders: fetched folders, by the repository's name in the code.
    """
    from huggingface_hub import constants

    with tempfile.TemporaryDirectory(prefix="nearid-hub-") as cache:
        for name, folder in folders.items():
            repository = Path(cache) / f"models--{name.replace('/', '--')}"
            for part in ("refs", "snapshots"):
                (repository / part).mkdir(parents=True)
            (repository / "refs/main").write_text(COMMIT)
            (repository / "snapshots" / COMMIT).symlink_to(folder.resolve(), target_is_directory=True)
        before = constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE
        constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = cache, True
        try:
            yield
        finally:
            constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE = before
