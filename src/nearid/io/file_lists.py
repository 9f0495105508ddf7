"""Lists of the files in a user's folder: they stand for the folder among a rule's inputs, and change only when it does.

A look is cheap (names, sizes and times of 100,000 files take two seconds); only files that seem new are read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from nearid.io.files import read_json, replacing
from nearid.io.hashing import hash_file, hash_json

HASHED_BYTES = 2_000_000_000
"""Larger folders are compared by sizes and times alone, since reading them would take minutes."""
# A file that was written less than this before a look may change again without a new time: the coarsest file systems
# (FAT, on a camera's card) count time in steps of two seconds.
_COARSE_NS = 2_000_000_000


@dataclass(frozen=True)
class _Look:
    """What is known of a file without reading it; times in nanoseconds."""

    size: int
    modified: int
    changed: int


# A broken link, an unreadable folder, a pipe or a device (reading it might not end): the step that needs it reports it.
_UNREADABLE = _Look(0, 0, 0)


def refresh_list(target: Path, source: Path) -> bool:
    """Write to `target` the list of the file `source`, or of the files below it; a list that is right stays untouched.

    Names that begin with a dot and `__pycache__` are left out, as no step reads them; links are followed. A file that
    is unchanged since the last look (recorded in a hidden file beside the list) is not read again. A new time with the
    same content is no change, new content with an older time is one; above `HASHED_BYTES`, sizes and times decide.

    Returns:
        Whether the list was written.

    Raises:
        FileNotFoundError: there is no `source`.
        OSError: the list cannot be written.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} is not there")
    record = target.with_name(f".{target.name}.seen")
    looks = dict(_look_through(source))
    if sum(look.size for look in looks.values()) <= HASHED_BYTES:
        contents = _read_new(source, looks, record)
    else:
        contents = {name: f"time {look.modified}" for name, look in looks.items()}
    lines = [f"{json.dumps(name)}\t{look.size}\t{contents[name]}" for name, look in sorted(looks.items())]
    text = "\n".join([f"# name\tsize\tcontent of {len(lines)} files", *lines]) + "\n"
    if target.is_file() and target.read_text() == text:
        return False
    with replacing(target, shared=True) as private:
        private.write_text(text)
    return True


def _look_through(source: Path) -> Iterator[tuple[str, _Look]]:
    """Relative name and look of each file below `source`; if it is a file itself, its name is `.`."""
    if not source.is_dir():
        yield ".", _look(source.stat())
        return
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        try:
            state = (source / folder).stat()
            above |= {(state.st_dev, state.st_ino)}
            entries = sorted(os.scandir(source / folder), key=lambda entry: entry.name)
        except OSError:
            if not folder:
                raise
            yield f"{folder}/", _UNREADABLE
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__pycache__":
                continue
            name = f"{folder}/{entry.name}".lstrip("/")
            try:
                state = entry.stat()
                if not entry.is_dir():
                    yield name, _look(state)
                # A link to a folder above would lead round in circles.
                elif (state.st_dev, state.st_ino) not in above:
                    waiting.append((name, above))
            except OSError:
                yield name, _UNREADABLE


def _look(state: os.stat_result) -> _Look:
    if not stat.S_ISREG(state.st_mode):
        return _UNREADABLE
    return _Look(state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def hash_looks(*sources: Path) -> str:
    """Hash of names, sizes and times of all files below those `sources` that exist."""
    looked_at = [dict(_look_through(source)) for source in sources if source.exists()]
    return hash_json([sorted([name, look.size, look.modified] for name, look in looks.items()) for looks in looked_at])


def hash_models(*folders: Path) -> str:
    """Hash of model folders: of the recorded contents if a folder is a download, else as `hash_looks`.

    A download's hash is the same on every machine, so that answers that took hours stay valid when they are moved. To
    read 60 GB for each run would take minutes.
    """
    from nearid.io.downloads import MARK  # here, since planning imports this module and fetches nothing

    marks = [folder / MARK for folder in folders]
    return hash_json(
        [
            read_json(mark)["files"] if mark.is_file() else hash_looks(folder)
            for mark, folder in zip(marks, folders, strict=True)
        ]
    )


def _read_new(source: Path, looks: dict[str, _Look], record: Path) -> dict[str, str]:
    """Hash of each file: the recorded one if the file is unchanged, else of its content."""
    known = _read_record(record)
    contents = {name: known[name][1] for name, look in looks.items() if name in known and known[name][0] == look}
    new = [name for name in looks if name not in contents]
    with ThreadPoolExecutor(8) as threads:
        for name, content in zip(new, threads.map(lambda name: _content(source, name, looks[name]), new), strict=True):
            contents[name] = content
    if new or len(known) != len(looks):
        with replacing(record, shared=True) as private:
            private.touch()
            # The file system's clock, which may be that of another machine.
            sure = private.stat().st_mtime_ns - _COARSE_NS
            rows = [
                [name, look.size, look.modified, look.changed, contents[name]]
                for name, look in looks.items()
                if look.changed < sure
            ]
            private.write_text("\n".join(map(json.dumps, rows)))
    return contents


def _read_record(record: Path) -> dict[str, tuple[_Look, str]]:
    try:
        rows = [json.loads(line) for line in record.read_text().splitlines()]
        return {name: (_Look(*look), content) for name, *look, content in rows}
    except (OSError, ValueError, TypeError):
        return {}  # only a cache: without it all files are read


def _content(source: Path, name: str, look: _Look) -> str:
    if look == _UNREADABLE:
        return "not readable"
    try:
        return hash_file(source if name == "." else source / name)
    except OSError:
        return f"time {look.modified}"  # not readable: the step that needs it reports it
