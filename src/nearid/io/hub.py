"""Bringing a repository of the hub to a local folder: a pinned commit, checked file by file."""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from nearid.errors import UserError
from nearid.io.files import read_json, write_json
from nearid.io.hashing import hash_file
from nearid.io.progress import track

MARK = "fetched.json"
"""Written last: the folder beside it is whole."""
COMMIT = "commit.json"
"""What the first fetch of an unpinned repository found; later ones keep to it."""
MAX_RATIO = 100
"""An archive that unpacks to more than this many times its size (and as many megabytes) is a bomb."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: SHA-256 where the hub keeps it apart (large files), else git's own hash."""

    path: str
    size: int
    sha256: str | None
    git_hash: str | None


class Hub(Protocol):
    """What is asked of the hub."""

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """The commit that `revision` (or nothing) means, and its files."""
        ...

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """Bring `file` of that commit to `folder / file`."""
        ...


class HuggingFace:
    """The hub itself, by its own client."""

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """See `Hub`."""
        from huggingface_hub import HfApi

        info = cast(Any, HfApi().repo_info(repository, repo_type=kind, revision=revision or None, files_metadata=True))
        files = [
            RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None, file.blob_id)
            for file in info.siblings or []
        ]
        return str(info.sha), files

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """See `Hub`; a file that was broken off is taken up where it ended."""
        from huggingface_hub import hf_hub_download

        hf_hub_download(repository, file, repo_type=kind, revision=commit, local_dir=folder)


def fetch(name: str, settings: Mapping[str, Any], folder: Path, hub: Hub) -> None:
    """Fill `folder` with what an entry of `downloads` names, and mark it as whole with `fetched.json`.

    Files that are there already with the right content are not fetched again, so that a killed run goes on. The mark
    says repository, commit, licence and the checksum of each file. Without a revision the first call decides which
    commit is meant (`commit.json`, to be deleted by whoever wants the newest one).

    Args:
        name: id of the entry.
        settings: `{hub, kind, revision, licence, files, unpack}`; `files` are patterns (none: all), `unpack` also
            unpacks ZIP archives where they lie.
        folder: `resources/<id>`.
        hub: where from.

    Raises:
        UserError: the hub cannot be reached or refuses, a file's content is not what the hub says, nothing matches
            the patterns, or an archive cannot be unpacked.
    """
    where = f"downloads.{name}"
    revision = settings["revision"] or _read_commit(folder, settings)
    try:
        commit, files = hub.resolve(settings["hub"], settings["kind"], revision)
    except Exception as error:  # the client has a dozen kinds of its own, and those of its transport
        raise UserError(
            where,
            f"{settings['hub']} cannot be read ({type(error).__name__}: {str(error).splitlines()[0]})",
            "network, and for gated repositories an accepted licence and a login",
            f"try again, or fill {folder} by hand and write {MARK} there",
        ) from error
    if settings["revision"] != commit:
        kept = f"; {folder / COMMIT} keeps to it here" if not settings["revision"] else ""
        logging.getLogger(__name__).warning(
            "%s is not pinned: to repeat this run exactly, write  revision: %s  there%s", where, commit, kept
        )
    if not settings["revision"]:
        write_json(folder / COMMIT, {"hub": settings["hub"], "commit": commit})
    patterns = settings["files"] or ["*"]
    wanted = [file for file in files if any(fnmatch.fnmatch(file.path, pattern) for pattern in patterns)]
    if not wanted:
        raise UserError(where, f"no file matches {patterns}", f"some of {len(files)} files", "mend `files`")
    outside = [file.path for file in wanted if not (folder / file.path).resolve().is_relative_to(folder.resolve())]
    if outside:
        raise UserError(where, f"the file {outside[0]!r}", f"files below {folder}", "do not use this repository")
    for file in track(wanted, name, total=len(wanted)):
        target = folder / file.path
        if not (target.is_file() and is_whole(target, file)):
            hub.download(settings["hub"], settings["kind"], commit, file.path, folder)
            if not is_whole(target, file):
                target.unlink(missing_ok=True)
                raise UserError(
                    target, "another content than the hub's checksum says", "the file as released", "run it again"
                )
        if settings["unpack"] and target.suffix == ".zip":
            _unpack(target)
    listed = {file.path: {"size": file.size, "sha256": hash_file(folder / file.path)} for file in wanted}
    mark = {"hub": settings["hub"], "kind": settings["kind"], "revision": commit, "licence": settings["licence"]}
    write_json(folder / MARK, {**mark, "files": listed})


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether a local file has the content that the hub announces."""
    if path.stat().st_size != file.size:
        return False
    if file.sha256:
        return hash_file(path) == file.sha256
    digest = hashlib.sha1(f"blob {file.size}\0".encode())
    digest.update(path.read_bytes())
    return file.git_hash is None or digest.hexdigest() == file.git_hash


def _read_commit(folder: Path, settings: Mapping[str, Any]) -> str:
    try:
        found = read_json(folder / COMMIT)
    except (OSError, ValueError):
        return ""
    return str(found["commit"]) if found.get("hub") == settings["hub"] else ""


def _unpack(archive: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            size = sum(member.file_size for member in content.infolist())
            if size > max(MAX_RATIO * archive.stat().st_size, MAX_RATIO << 20):
                raise UserError(
                    archive,
                    f"{size / 1e9:.1f} GB in {archive.stat().st_size / 1e6:.1f} MB",
                    f"at most {MAX_RATIO} times the archive: pictures hardly shrink",
                    "do not use this archive",
                )
            for member in content.infolist():
                target = archive.parent / member.filename
                if not (target.is_file() and target.stat().st_size == member.file_size):
                    # It keeps to this folder: zipfile drops leading slashes and `..`.
                    content.extract(member, archive.parent)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(
            archive, f"cannot be unpacked ({error})", "a ZIP archive", "unpack it by hand, and set `unpack: false`"
        ) from error
