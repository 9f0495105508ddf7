"""One run at a time in a results folder, however it is started (`make`, Snakemake, a rehearsal) and by whichever user.

The kernel releases the lock when the last process of a run ends, so that a killed run can be started again as soon as
its surviving jobs have ended. It uses `fcntl`, since the jobs share the lock, which `filelock` cannot.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from nearid.errors import UserError
from nearid.io.locks import NO_LOCKS

logger = logging.getLogger(__name__)

LOCK = ".lock"
# A killed process may take a moment to end.
PATIENCE_S = 10.0


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` in a `with` block."""
    descriptor = hold(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def hold(folder: Path) -> int:
    """Keep other runs out of `folder` until this process and all that `share` its lock have ended.

    Returns:
        Descriptor of the lock file; closing it releases the lock earlier.

    Raises:
        UserError: another run, or a job of a killed one, works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _open(path)
    try:
        # Exclusive first, which shows that nobody works here; then shared with the run's own jobs.
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            if not _take(descriptor, kind, PATIENCE_S):
                os.close(descriptor)
                said = path.read_text(errors="replace")[:200].strip()
                raise UserError(
                    path,
                    "another run works here, or jobs of a killed one still do" + (f": {said}" if said else ""),
                    "one run at a time in a results folder",
                    "wait, or end them",
                )
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: its file system has no locks; nothing keeps a second run out", folder)
        return descriptor
    with contextlib.suppress(OSError):  # read-only for us, or a full disk: the lock holds all the same
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{getpass.getuser()}, process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    return descriptor


def share(folder: Path) -> None:
    """Keep the lock of the run that this job belongs to until the job ends; does nothing if no run holds one.

    Jobs of a cluster do not: they are in its queue, where whoever starts the run again sees them.
    """
    if "SLURM_JOB_ID" in os.environ or not (folder / LOCK).is_file():
        return
    with contextlib.suppress(OSError):
        _take(_open(folder / LOCK), fcntl.LOCK_SH, 0.0)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # another user's: reading is enough for a lock
        return os.open(path, os.O_RDONLY)


def _take(descriptor: int, kind: int, patience_s: float) -> bool:
    limit = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > limit:
                return False
            time.sleep(0.1)
