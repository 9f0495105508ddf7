"""Finished parts of a long step, kept outside the declared results so that a killed run resumes from them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path


class Parts:
    """Part files of one step under `<folder>/<key>/`.

    The folder is undeclared, since Snakemake deletes the declared outputs of a failed job. `key` is a hash of all
    that the parts depend on; parts of another key are stale and swept. Several processes may write parts of one key.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._current = folder / key[:16]
        if folder.is_dir():
            for stale in folder.iterdir():
                if stale != self._current:
                    _remove(stale)
        _make_folder(self._current)

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._current

    def path(self, number: int, suffix: str) -> Path:
        """The file of part `number`."""
        return self._current / f"{number:07d}{suffix}"

    def finished(self, suffix: str) -> list[int]:
        """Numbers of the parts whose file with `suffix` exists (its writer makes it the last of the part), sorted."""
        return sorted(int(path.name.removesuffix(suffix)) for path in self._current.glob(f"[0-9]*{suffix}"))

    def clear(self) -> None:
        """Remove everything; call it once the declared results stand."""
        clear(self._folder)


def clear(folder: Path) -> None:
    """Remove the parts of all keys of a step."""
    _remove(folder)
    if folder.parent.name == ".progress":
        # Shared by the shards of a source: the last one removes it, whoever that is.
        with suppress(OSError):
            folder.parent.rmdir()


def _remove(folder: Path) -> None:
    # Another process may be removing it too.
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _make_folder(folder: Path) -> None:
    # Another shard's step may remove the empty parent between the making of the two.
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
