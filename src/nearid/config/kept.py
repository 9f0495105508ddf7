"""A cache of fingerprints: to compute those of all steps takes a second, and each cluster job needs one.

It is kept beside Snakemake's own records, and is valid as long as no file of the package changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from nearid.config.members import PACKAGE
from nearid.io.files import replacing


class Kept:
    """Fingerprints by key, in the file `path`; a damaged file, or one of other code, counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path, self._package, self._found = path, digest_package(PACKAGE), dict[str, str]()
        self._changed = False
        try:
            content = json.loads(path.read_text())
            if content["package"] == self._package:
                self._found = {str(key): str(value) for key, value in content["found"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def get(self, asked: str, find: Callable[[], str]) -> str:
        """The fingerprint for the key `asked`; `find` computes it if it is not kept."""
        if asked not in self._found:
            self._found[asked] = find()
            self._changed = True
        return self._found[asked]

    def save(self) -> None:
        """Write what was added. If the file cannot be written, it is computed again next time."""
        if self._changed:
            self._changed = False
            try:
                with replacing(self._path, shared=True) as private:
                    private.write_text(json.dumps({"package": self._package, "found": self._found}))
            except OSError:
                pass


def digest_package(package: Path) -> str:
    """Hash of all files that a fingerprint may depend on: modules, and what is beside them and in their templates."""
    folders = sorted({path.parent for path in package.rglob("*.py")})
    files = (path for folder in folders for path in sorted((*folder.iterdir(), *folder.glob("templates/*"))))
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(f"{path.relative_to(package)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
