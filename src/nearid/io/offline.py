"""Repositories of the hub as fetched folders, for code of others that asks the hub by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMIT = "0" * 40
"""Under which the cache below has each repository; which commit was fetched stands in the folder's own mark."""


@contextmanager
def served_offline(folders: Mapping[str, Path]) -> Iterator[None]:
    """While this lasts, the hub's client finds each repository of `folders`, and asks the network for nothing.

    The client looks into its cache first: here that is a folder of links, gone at the end.

    Args:
        folders: what was fetched, by the name that the code asks for.
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
