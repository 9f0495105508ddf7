"""Finished parts of a long step, kept outside the declared results so that a killed run resumes from them."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path


class Parts:
    """Part files of one step under `<folder>/<key>/`.

    The folder is undeclared, since Snakemake deletes the declared outputs of a failed job. `key` is a hash of all that
    the parts depend on; parts with another key are stale and removed. Several processes may write parts of one key.
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
        """The folder of the parts with this key."""
        return self._current

    def path(self, number: int, suffix: str) -> Path:
        """The file of part `number`."""
        return self._current / f"{number:07d}{suffix}"

    def finished(self, suffix: str) -> list[int]:
        """Sorted numbers of the parts whose file with `suffix` exists; a writer makes this file last."""
        return sorted(int(path.name.removesuffix(suffix)) for path in self._current.glob(f"[0-9]*{suffix}"))

    def clear(self) -> None:
        """Remove all parts; call it once the declared results are written."""
        clear(self._folder)


def clear(folder: Path) -> None:
    """Remove the parts of a step, whatever their key."""
    _remove(folder)
    if folder.parent.name == ".progress":
        # Shared by the shards of a source, of which the last one removes it.
        with suppress(OSError):
            folder.parent.rmdir()


def _remove(folder: Path) -> None:
    # Another process may be removing it too.
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def _make_folder(folder: Path) -> None:
    # Another shard's step may remove the parent when it is empty, before the folder in it is made.
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            continue
