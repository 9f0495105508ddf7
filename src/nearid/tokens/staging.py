"""Copies of token shards on a local disk of the training machine, for network file systems slower than this disk.

A copy is read instead of its shard as long as the copy exists and is complete.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.io.locks import taking_turns
from nearid.io.paths import make_private

logger = logging.getLogger(__name__)

VARIABLE = "NEARID_STAGING"
RAM_VARIABLE = "NEARID_TOKENS_RAM_GB"
PREFETCH_VARIABLE = "NEARID_PREFETCH_GB"
# Room for two batches of 128 samples of so400m, within the 8 GB of a training job.
PREFETCH_GB = "3"
# Part of the disk that stays free, since others write there too.
SPARE = 0.02


class ReadingOptions(TypedDict):
    """Arguments of `TokenStore`."""

    staging: Path | None
    ram_bytes: int


def reading_options(environment: Mapping[str, str] = os.environ) -> ReadingOptions:
    """The machine's options for reading tokens repeatedly, from environment variables.

    They change no result, so they belong to the machine and not to the config.

    Raises:
        UserError: the memory is not a number.
    """
    folder = environment.get(VARIABLE)
    return {"staging": Path(folder) if folder else None, "ram_bytes": _size(RAM_VARIABLE, environment, "0")}


def prefetch_bytes(environment: Mapping[str, str] = os.environ) -> int:
    """How many bytes of batches training may hold, including the current one.

    Raises:
        UserError: it is not a number.
    """
    return _size(PREFETCH_VARIABLE, environment, PREFETCH_GB)


def _size(variable: str, environment: Mapping[str, str], default: str) -> int:
    gigabytes = environment.get(variable) or default
    try:
        return int(float(gigabytes) * 1e9)
    except (ValueError, OverflowError):
        raise UserError(variable, gigabytes, "gigabytes, such as 32", "correct or unset it") from None


def stage(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copies of `paths` below `folder`, made if missing or out of date; a path itself if there is no room for its copy.

    Args:
        paths: the shards.
        folder: on a disk of this machine; jobs that share it copy one after the other.

    Raises:
        UserError: the folder cannot be made or written, or other users could put copies there.
    """
    try:
        make_private(folder, "its copies are read for the shards")
        with taking_turns(folder / ".lock", "copies token shards"):
            return [_copy(path, folder) for path in paths]
    except OSError as error:
        raise UserError(
            f"{VARIABLE}={folder}", str(error), "a folder that can be written", f"choose another, or unset {VARIABLE}"
        ) from error


def _copy(path: Path, folder: Path) -> Path:
    # By its own name below a hash of its folder, so that two runs do not mix.
    target = folder / hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:16] / path.name
    original = path.stat()
    if target.exists() and _same(target.stat(), original):
        return target
    free = shutil.disk_usage(folder)
    if free.free - original.st_size < SPARE * free.total:
        room = f"{free.free / 1e9:.1f} GB free at {folder}"
        logger.info("%s: %.1f GB, %s: it is read where it is", path, original.st_size / 1e9, room)
        return path
    with replacing(target) as private:
        shutil.copyfile(path, private)
        shutil.copystat(path, private)
    return target


def _same(copy: os.stat_result, original: os.stat_result) -> bool:
    return (copy.st_size, copy.st_mtime_ns) == (original.st_size, original.st_mtime_ns)
