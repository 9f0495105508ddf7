"""ZIP archives of a download: unpacked into a folder of their own, and later compared with it."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from nearid.errors import UserError

MAX_RATIO = 100
"""An archive that unpacks to more than this many times its size (and as many megabytes) is a bomb."""
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError)


def unpack(archives: Mapping[Path, Path]) -> None:
    """Unpack each archive into its folder; files that already have the right content are kept.

    Raises:
        UserError: an archive is no ZIP archive, damaged, encrypted or a bomb, has links or names that lead out of its
            folder, or has other contents for a file than another archive.
    """
    brought: dict[Path, tuple[Path, tuple[int, int]]] = {}
    for archive, folder in archives.items():
        with _opened(archive) as content:
            for member in _members(archive, content):
                target, mark = folder / member.filename, (member.file_size, member.CRC)
                other, known = brought.setdefault(target, (archive, mark))
                if known != mark:
                    raise UserError(
                        archive, f"another {member.filename} than {other.name}", "one content per file", "leave one out"
                    )
                if not (target.is_file() and _checksum(target) == mark):
                    _extract(content, member, target)


def odd_members(archive: Path, folder: Path, content: bool) -> Iterator[tuple[Path, str]]:
    """Files of `folder` that differ from those in `archive`, and how; `content` compares checksums too.

    Raises:
        UserError: the archive cannot be read.
    """
    with _opened(archive) as opened:
        for member in _members(archive, opened):
            path = folder / member.filename
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                yield path, "missing"
            elif size != member.file_size:
                yield path, f"{size} bytes, not {member.file_size}"
            elif content and _checksum(path) != (member.file_size, member.CRC):
                yield path, "other content"


def _opened(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except _BROKEN as error:
        raise _refuse(archive, error) from error


def _refuse(archive: Path, error: Exception) -> UserError:
    action = "fetch it again (a page of a web site saved under this name is none)"
    return UserError(archive, f"cannot be unpacked ({error})", "a ZIP archive", action)


def _members(archive: Path, content: zipfile.ZipFile) -> Iterable[zipfile.ZipInfo]:
    files = [member for member in content.infolist() if not member.is_dir()]
    size, packed = sum(member.file_size for member in files), archive.stat().st_size
    if size > max(MAX_RATIO * packed, MAX_RATIO << 20):
        raise UserError(
            archive,
            f"{size / 1e9:.1f} GB in {packed / 1e6:.1f} MB",
            f"at most {MAX_RATIO} times the archive: pictures hardly shrink",
            "do not use this archive",
        )
    for member in files:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or stat.S_ISLNK(member.external_attr >> 16):
            found = f"the member {member.filename!r}"
            raise UserError(archive, found, "files below its folder, no links", "do not use this archive")
    return files


def _extract(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    # Not flushed to disk one by one, which would take an hour for a hundred thousand pictures.
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with content.open(member) as source, partial.open("wb") as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
    except _BROKEN as error:
        raise _refuse(Path(content.filename or member.filename), error) from error
    partial.replace(target)


def _checksum(path: Path) -> tuple[int, int]:
    size = checksum = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return size, checksum
