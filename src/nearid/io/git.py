"""Files of a Git repository at a commit, fetched by git itself; submodules at the commits that it names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from nearid.errors import UserError
from nearid.io.hub import RemoteFile, refuse_transport

_DEPTH = 4
"""Levels of nested submodules that are followed."""


class _Blob(NamedTuple):
    repository: Path
    hash: str


class GitRepository:
    """One repository, fetched into `scratch`. Git checks every object against its hash; no code of it is run.

    Args:
        scratch: an empty folder for git's objects.
        folder: the folder of the repository to take; empty: all of it.
    """

    def __init__(self, scratch: Path, folder: str = "") -> None:
        self._scratch, self._folder = scratch, folder.strip("/")
        self._blobs: dict[str, _Blob] = {}

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """See `nearid.io.hub.Hub`.

        Raises:
            UserError: repository or commit cannot be fetched, the folder is missing, or there are symbolic links.
        """
        del kind
        files = self._list(repository, revision, self._folder, "", _DEPTH)
        if not files:
            raise UserError(
                f"{repository}, commit {revision}", f"no folder {self._folder!r}", "a folder of it", "correct `folder`"
            )
        return revision, files

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """See `nearid.io.hub.Hub`."""
        del repository, kind, commit
        blob, target = self._blobs[file], folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("wb") as stream:
            subprocess.run(
                ["git", "-C", str(blob.repository), "cat-file", "blob", blob.hash], stdout=stream, check=True
            )
        partial.replace(target)

    def _list(self, url: str, commit: str, inside: str, prefix: str, depth: int) -> list[RemoteFile]:
        repository = self._fetch(url, commit)
        files = []
        for line in _git(repository, "ls-tree", "-r", "-z", "--long", commit, "--", *([inside] if inside else [])):
            head, path = line.split("\t", 1)
            mode, _, digest, size = head.split()
            name = prefix + str(PurePosixPath(path).relative_to(inside) if inside else PurePosixPath(path))
            if mode == "160000":
                if depth == 0:
                    raise UserError(f"{url}, {path}", "a submodule too deep", f"{_DEPTH} levels", "fetch it by hand")
                files += self._list(self._module(repository, commit, path, url), digest, "", f"{name}/", depth - 1)
            elif mode == "120000":
                raise UserError(f"{url}, {path}", "a symbolic link", "files", "do not use this repository")
            else:
                self._blobs[name] = _Blob(repository, digest)
                files.append(RemoteFile(name, int(size), None, digest))
        return files

    def _fetch(self, url: str, commit: str) -> Path:
        """A bare repository with that commit, and no others if the server allows that."""
        repository = self._scratch / f"{len(list(self._scratch.iterdir()))}.git"
        try:
            _git(None, "init", "--quiet", "--bare", str(repository))
            try:
                _git(repository, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit)
            except subprocess.CalledProcessError:
                # Some servers give only branches: then fetch all of them.
                _git(repository, "fetch", "--quiet", "--no-tags", "--", url, "+refs/heads/*:refs/heads/*")
            found = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")[0].strip()
        except FileNotFoundError as error:
            raise UserError("this machine", "no program git", "git", "install it, or fetch by hand") from error
        except subprocess.CalledProcessError as error:
            raise refuse_transport(f"{url}, commit {commit}", RuntimeError(error.stderr.strip() or error)) from error
        if found != commit:
            raise UserError(f"{url}", f"{found}", f"the commit {commit}", "write the whole hash of a commit")
        return repository

    def _module(self, repository: Path, commit: str, path: str, parent: str) -> str:
        """The URL of the submodule at `path`."""
        try:
            lines = _git(repository, "config", "-z", "--blob", f"{commit}:.gitmodules", "--list")
        except subprocess.CalledProcessError:
            lines = []
        values = dict(line.split("\n", 1) for line in lines if "\n" in line)
        name = next(
            (key[: -len(".path")] for key, value in values.items() if key.endswith(".path") and value == path), ""
        )
        url = values.get(f"{name}.url", "")
        if url.startswith(("./", "../")):
            base = parent.rstrip("/").split("/")
            for part in url.split("/"):
                base = base[:-1] if part == ".." else base if part == "." else [*base, part]
            url = "/".join(base)
        if not url.startswith(("https://", "ssh://", "file://")):
            raise UserError(f"{parent}, {path}", f"a submodule from {url!r}", "https, ssh or file", "fetch it by hand")
        return url


def _git(repository: Path | None, *arguments: str) -> list[str]:
    """The records of the output, ended by a line break or, with -z, by NUL. Git never prompts; three protocols only."""
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        "LC_ALL": "C",
    }
    place = ["-C", str(repository)] if repository else []
    command = ["git", "-c", "transfer.fsckObjects=true", *place, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    separator = "\0" if "-z" in arguments else "\n"
    return [record for record in done.stdout.split(separator) if record]
