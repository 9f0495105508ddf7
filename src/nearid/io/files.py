"""Files that are either complete or absent."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_UMASK = os.umask(0o077)
os.umask(_UMASK)  # setting it is the only way to read it


@contextmanager
def replacing(target: Path | str, shared: bool = False) -> Iterator[Path]:
    """Yield a private path beside `target`; on success flush it and rename it to `target`.

    A writer that fails removes its private file; one that is killed leaves a hidden `.partial`, which the next
    writer of the same target removes. Under the final name there is a complete file or none.

    Args:
        target: final name.
        shared: other processes may be writing the same target, with the same content: their files are not removed.

    Raises:
        OSError: the folder is read-only, the disk is full, ...; `nearid.cli` turns it into a readable message.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for stray in () if shared else target.parent.glob(f".{target.name}.*.partial"):
        stray.unlink(missing_ok=True)
    private = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(3)}.partial"
    try:
        yield private
        # Some writers (safetensors) make files that only their owner may read, whatever the umask.
        private.chmod(0o666 & ~_UMASK)
        with private.open("rb+") as stream:
            os.fsync(stream.fileno())
        private.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        # The error of a failed write, unlike that of a failed open, does not name its file.
        error.filename = error.filename or str(target)
        raise
    finally:
        private.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(target: Path | str, content: bytes) -> None:
    """Write `content` to `target` atomically."""
    with replacing(target) as private:
        private.write_bytes(content)


def write_text(target: Path | str, content: str) -> None:
    """Write `content` to `target` atomically as UTF-8."""
    write_bytes(target, content.encode())


def write_json(target: Path | str, content: Any) -> None:
    """Write `content` to `target` atomically as sorted, indented JSON (same content, same bytes; NaN is an error)."""
    write_text(target, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(source: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(source).read_text())
