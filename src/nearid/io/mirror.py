"""A folder that somebody else filled, in place of the hub: for machines without a network, and for rehearsals."""

from __future__ import annotations

import shutil
from pathlib import Path

from nearid.errors import UserError
from nearid.io.hashing import hash_file, hash_json
from nearid.io.hub import RemoteFile


class Mirror:
    """Files of one repository in a folder; see `nearid.io.hub.Hub`.

    Args:
        folder: `<mirror>/<id>`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """The given revision, or one computed from the files; and the files.

        Raises:
            UserError: no such folder.
        """
        if not self._folder.is_dir():
            raise UserError("config, key mirror", f"no {self._folder}", f"the files of {repository}", "copy them there")
        paths = sorted(path for path in self._folder.rglob("*") if path.is_file())
        names = [path.relative_to(self._folder).as_posix() for path in paths]
        hashes = [hash_file(path) for path in paths]
        files = [
            RemoteFile(name, path.stat().st_size, sha256, None)
            for name, path, sha256 in zip(names, paths, hashes, strict=True)
        ]
        return revision or hash_json([names, hashes])[:40], files

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """Copy `file` to `folder / file`."""
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._folder / file, target)
