"""Locks for what two processes must not do at the same time: the second is refused, or waits for its turn.

The kernel releases the lock of a killed process. On a file system without locks there is a warning, and nobody waits.
Lock files are not removed: removing one could let two processes in.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from nearid.errors import UserError

logger = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without locks."""


@contextmanager
def lock(folder: Path, work: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock on `folder`, so that no second job does the same work there.

    Args:
        folder: the folder of the work.
        work: what the other job does, e.g. "trains this head".
        wait: whether to wait for the other job to end.

    Raises:
        UserError: another process holds it, and we do not `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = _acquire(folder / ".lock", f"another job {work}; waiting for it" if wait else "")
    except Timeout:
        raise UserError(folder, f"another process {work}", "one at a time", "wait for it, or end it") from None
    with held:
        yield


@contextmanager
def taking_turns(path: Path, purpose: str) -> Iterator[None]:
    """Hold the lock file `path`, after waiting for other processes that hold it.

    Args:
        path: the lock file.
        purpose: what the other process does, for the message to those who wait.

    Raises:
        OSError: the file cannot be written.
    """
    with _acquire(path, f"another process {purpose}; this one waits (for {path})"):
        yield


def _acquire(path: Path, message: str) -> AbstractContextManager[object]:
    """The acquired lock. If another process holds it: log `message` and wait; without a message, raise `Timeout`."""
    held = FileLock(path, poll_interval=0.5, fallback_to_soft=False)
    try:
        return held.acquire(blocking=False)
    except Timeout:
        if not message:
            raise
        logger.info(message)
        return held.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        logger.warning("%s: its file system has no locks; let no other process work there", path)
        return nullcontext()
