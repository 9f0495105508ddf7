"""Places that files are fetched from, and the Hugging Face hub as one of them, by its own client."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from nearid.errors import UserError
from nearid.io.hashing import hash_file


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: with SHA-256 if the place gives it, else git's hash, else only the size (-1: unknown)."""

    path: str
    size: int
    sha256: str | None
    git_hash: str | None


class Hub(Protocol):
    """A place that files are fetched from."""

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """The commit that `revision` stands for (empty: the newest), and its files."""
        ...

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """Fetch `file` of that commit to `folder / file`."""
        ...


class HuggingFace:
    """The hub itself."""

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """See `Hub`.

        Raises:
            UserError: the hub cannot be reached or refuses.
        """
        from huggingface_hub import HfApi

        try:
            api = HfApi()
            info = cast(Any, api.repo_info(repository, repo_type=kind, revision=revision or None, files_metadata=True))
        except Exception as error:  # the client has a dozen kinds of its own, and those of its transport
            raise refuse_transport(f"{repository}, revision {revision or 'newest'}", error) from error
        files = [
            RemoteFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None, file.blob_id)
            for file in info.siblings or []
        ]
        return str(info.sha), files

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """See `Hub`; an interrupted file is resumed.

        Raises:
            UserError: the hub cannot be reached or refuses.
        """
        from huggingface_hub import hf_hub_download

        try:
            hf_hub_download(repository, file, repo_type=kind, revision=commit, local_dir=folder)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # an error of this machine's disk, which `nearid.cli` explains
            raise refuse_transport(f"{repository}, {file}", error) from error


def refuse_transport(where: str, error: Exception) -> UserError:
    """The error for something that cannot be fetched, with the first line of the client's error."""
    said = (str(error).splitlines() or [""])[0]
    return UserError(
        where,
        f"cannot be read ({type(error).__name__}: {said})",
        "network, and for gated repositories an accepted licence and a login",
        "start again when it can be reached (what is here already stays), or fill the folder on another machine",
    )


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether a local file has the content that its place announces."""
    if file.size >= 0 and path.stat().st_size != file.size:
        return False
    if file.sha256:
        return hash_file(path) == file.sha256
    return file.git_hash is None or hash_blob(path) == file.git_hash


def hash_blob(path: Path) -> str:
    """The hash under which git keeps a file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
