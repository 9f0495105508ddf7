"""Fetches a download into its folder, checks each file, and later compares the folder with the record of that.

Four kinds: a repository of the hub, a folder of a Git repository at a commit, a file at a URL with its checksum, and
files that people must bring by hand because no program may fetch them.
"""

from __future__ import annotations

import fnmatch
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearid.errors import UserError
from nearid.io.archives import odd_members, unpack
from nearid.io.files import read_json, write_json
from nearid.io.git import GitRepository
from nearid.io.hashing import hash_file
from nearid.io.hub import Hub, HuggingFace, RemoteFile, is_whole
from nearid.io.locks import taking_turns
from nearid.io.mirror import Mirror
from nearid.io.progress import track
from nearid.io.web import WebFile

logger = logging.getLogger(__name__)

MARK = "fetched.json"
"""Written last, so it shows that its folder is complete."""
COMMIT = "commit.json"
"""The commit that the first fetch of an unpinned repository found; later ones fetch the same."""
UNPACKED = "unpacked"
"""Where archives are unpacked, separate from the checked files."""
_SCRATCH = ".git-"
_MODULES = (".py", ".pyc", ".so")
PLACES = ("hub", "git", "url", "hand")

Settings = Mapping[str, Any]


def fetch(name: str, settings: Settings, folder: Path, hub: Hub | None = None) -> None:
    """Fill `folder` with what an entry of `downloads` names, and mark it as complete with `fetched.json`.

    Files that exist with the right content are not fetched again, so that a killed fetch continues. The mark records
    origin, commit, licence and the checksum of each file. A repository of the hub without a revision is fetched at the
    commit that was the newest at the first call (`commit.json`; delete it to get the newest again). Two fetches into
    one folder take turns.

    Args:
        name: id of the entry.
        settings: `hub` and `kind`, or `git` and `folder`, or `url` and `sha256`, or `hand`; `revision`, `licence`;
            `files`, patterns (none: all), each of which must match; `unpack`: unpack ZIP archives into `unpacked/`.
        folder: `resources/<id>`.
        hub: the place to fetch from, instead of the one in `settings`.

    Raises:
        UserError: the place cannot be reached or refuses, a file does not have its announced content, nothing matches a
            pattern, an archive cannot be unpacked, or a file to be brought by hand is missing or another one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with taking_turns(folder.with_name(f".{folder.name}.lock"), f"fetches {name}"):
        _fetch(name, settings, folder, hub)


def _fetch(name: str, settings: Settings, folder: Path, hub: Hub | None) -> None:
    where, repository = f"downloads.{name}", _place(settings)
    revision = settings["revision"] or _read_commit(folder, repository)
    with _opened(settings, folder, hub) as origin:
        commit, files = origin.resolve(repository, settings.get("kind", ""), revision)
        # A mirror's revision is computed from its files; it is no commit that a config could name.
        if "hub" in settings and not isinstance(origin, Mirror):
            _keep_commit(where, settings, folder, commit)
        wanted = _wanted(where, settings, files, folder)
        for file in track(wanted, name, total=len(wanted)):
            target = folder / file.path
            if not (target.is_file() and is_whole(target, file)):
                origin.download(repository, settings.get("kind", ""), commit, file.path, folder)
                if not is_whole(target, file):
                    target.unlink(missing_ok=True)
                    raise UserError(
                        target, "another content than its checksum says", "the file as released", "run it again"
                    )
    if settings["unpack"]:
        unpack(_archives(folder, [file.path for file in wanted]))
    if "hand" in settings:
        try:
            check_by_hand(name, settings, folder, unpacked=True)
        except UserError:
            shutil.rmtree(folder / UNPACKED, ignore_errors=True)  # the wrong archive
            raise
    listed = {
        file.path: {
            "size": (folder / file.path).stat().st_size,
            "sha256": file.sha256 or hash_file(folder / file.path),
        }
        for file in wanted
    }
    mark = {"from": "by hand" if "hand" in settings else repository, "revision": commit, "licence": settings["licence"]}
    write_json(folder / MARK, {**mark, "unpacked": settings["unpack"], "files": listed})


def check_by_hand(name: str, settings: Settings, folder: Path, unpacked: bool = False) -> None:
    """Check that `folder` has what a person must bring; archives are not opened before they are `unpacked`.

    Raises:
        UserError: names the first file that is missing or another one, and says what to do.
    """
    instructions = f"{settings['hand']} -- into {folder}"
    checksum = settings.get("sha256", "")
    present = _files_in(folder)
    archives = [path for path in present if path.endswith(".zip")]
    for path in archives if checksum else ():
        if hash_file(folder / path) != checksum:
            raise UserError(
                folder / path, "another file than the one meant: its checksum differs", checksum, instructions
            )
    if settings["unpack"] and archives and not unpacked:
        return
    inside = [path.removeprefix(f"{UNPACKED}/") for path in present]
    for pattern in settings["files"] or ["*"]:
        if not fnmatch.filter(inside, pattern):
            found = f"nothing like {pattern}" if present else "nothing"
            raise UserError(f"downloads.{name}", f"{found} in {folder}", pattern, instructions)


def check_fetched(folder: Path) -> None:
    """Compare `folder` with its mark, if there is one, by names and sizes: cheap enough for every use.

    Raises:
        UserError: names the first file that is missing or has another size.
    """
    for path, found in odd_files(folder, content=False):
        raise _refuse_changed(folder, path, found)


def check_code(folder: Path) -> None:
    """Compare a fetched folder of code (or one inside it) with its download's list, byte by byte, before an import.

    An unlisted module could be imported in place of another, so there must be none, and compiled files of Python are
    removed. A checkout that was not fetched is not checked: it is its owner's.

    Raises:
        UserError: a file is missing or differs, or a module is not in the list.
    """
    folder = folder.resolve()
    root = next((above for above in (folder, *folder.parents) if (above / MARK).is_file()), None)
    if root is None:
        return
    verify(root)
    for compiled in [path for path in folder.rglob("__pycache__") if path.is_dir()]:
        shutil.rmtree(compiled, ignore_errors=True)
    listed = read_json(root / MARK)["files"]
    for path in sorted(folder.rglob("*")):
        if path.suffix in _MODULES and path.relative_to(root).as_posix() not in listed:
            raise UserError(path, "a module that was not fetched", f"those that {root / MARK} lists", "remove it")


def verify(folder: Path) -> int:
    """Hash all files of a fetched folder again, unpacked ones too; returns the number of fetched files.

    Raises:
        UserError: there is no mark, or files are missing or differ; names the first of them.
    """
    if not (folder / MARK).is_file():
        raise UserError(folder, f"no {MARK}", "a folder that was fetched", "fetch it first")
    odd = list(odd_files(folder, content=True))
    if odd:
        path, found = odd[0]
        more = f" (and {len(odd) - 1} more files)" if len(odd) > 1 else ""
        raise _refuse_changed(folder, path, found + more)
    return len(read_json(folder / MARK)["files"])


def odd_files(folder: Path, content: bool) -> Iterator[tuple[Path, str]]:
    """Files of `folder` that differ from its mark, and how; `content`: compare checksums too."""
    if not (folder / MARK).is_file():
        return
    mark = read_json(folder / MARK)
    for name, entry in mark["files"].items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size is None:
            yield path, "missing"
        elif size != entry["size"]:
            yield path, f"{size} bytes, {entry['size']} were fetched"
        elif content and hash_file(path) != entry["sha256"]:
            yield path, "other content than was fetched"
    if mark.get("unpacked"):
        for archive, target in _archives(folder, mark["files"]).items():
            if archive.is_file():
                yield from odd_members(archive, target, content)


class _ByHand:
    """Files that a person brought; there is nothing to download."""

    def __init__(self, name: str, settings: Settings, folder: Path) -> None:
        self._name, self._settings, self._folder = name, settings, folder

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        check_by_hand(self._name, self._settings, self._folder)
        paths = _files_in(self._folder)
        if self._settings["unpack"] and any(path.endswith(".zip") for path in paths):
            paths = [path for path in paths if not path.startswith(f"{UNPACKED}/")]
        return revision, [RemoteFile(path, (self._folder / path).stat().st_size, None, None) for path in paths]

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        raise UserError(folder / file, "missing", "what was there a moment ago", "put it there again")


@contextmanager
def _opened(settings: Settings, folder: Path, hub: Hub | None) -> Iterator[Hub]:
    """The place that `settings` name, opened."""
    if hub is not None:
        yield hub
    elif "git" in settings:
        for stray in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(stray, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:
            yield GitRepository(Path(scratch), settings.get("folder", ""))
    elif "url" in settings:
        yield WebFile(settings["sha256"])
    elif "hand" in settings:
        yield _ByHand(folder.name, settings, folder)
    else:
        yield HuggingFace()


def _place(settings: Settings) -> str:
    return str(next(settings[place] for place in PLACES if place in settings))


def _wanted(where: str, settings: Settings, files: list[RemoteFile], folder: Path) -> list[RemoteFile]:
    """The files that match the patterns; of a download by hand all files, since its patterns say what must be there."""
    patterns = ["*"] if "hand" in settings else settings["files"] or ["*"]
    names = [file.path for file in files]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            some = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            raise UserError(
                where, f"no file matches {pattern}", f"some of {len(names)} files: {some}", "correct `files`"
            )
    chosen = [file for file in files if any(fnmatch.fnmatch(file.path, pattern) for pattern in patterns)]
    for file in chosen:
        inside = (folder / file.path).resolve().is_relative_to(folder.resolve())
        if not inside or ("hand" not in settings and Path(file.path).parts[0] in (MARK, COMMIT, UNPACKED)):
            raise UserError(where, f"the file {file.path!r}", f"files below {folder}", "do not use this repository")
    return chosen


def _keep_commit(where: str, settings: Settings, folder: Path, commit: str) -> None:
    if settings["revision"] == commit:
        return
    kept = f"; {folder / COMMIT} keeps to it here" if not settings["revision"] else ""
    logger.warning("%s is not pinned: to repeat this run exactly, write  revision: %s  there%s", where, commit, kept)
    if not settings["revision"]:
        write_json(folder / COMMIT, {"hub": settings["hub"], "commit": commit})


def _read_commit(folder: Path, repository: str) -> str:
    try:
        found = read_json(folder / COMMIT)
    except (OSError, ValueError):
        return ""
    return str(found["commit"]) if found.get("hub") == repository else ""


def _archives(folder: Path, names: Any) -> dict[Path, Path]:
    """Archives of a download, and the folder into which each is unpacked."""
    return {folder / name: (folder / UNPACKED / name).parent for name in names if name.endswith(".zip")}


def _files_in(folder: Path) -> list[str]:
    """Names of the files that a person put there, without marks and hidden files."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else ()
    visible = (path for path in found if not any(part.startswith(".") for part in path.parts))
    return sorted(path.as_posix() for path in visible if path.name not in (MARK, COMMIT))


def _refuse_changed(folder: Path, path: Path, found: str) -> UserError:
    action = f"remove {folder / MARK} and start again: only what differs is fetched"
    return UserError(path, found, f"the files that {folder / MARK} lists", action)
