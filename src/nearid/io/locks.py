"""What two processes must not do at the same time: one of them is refused, or waits for its turn.

The kernel releases the lock of a process that was killed. On a file system without locks a warning says so, and nobody
waits. Lock files stay: removing one would let two processes in.
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

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def lock(folder: Path, work: str, wait: bool = False) -> Iterator[None]:
    """Hold `folder` against a second job of the same work.

    Args:
        work: what the other one does, e.g. "trains this head".
        wait: for the other one to end.

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
    """Wait until no other process is in here with the lock file `path`, and keep the next ones waiting meanwhile.

    Args:
        purpose: what the others do, for those who wait.

    Raises:
        OSError: the file cannot be written.
    """
    with _acquire(path, f"another process {purpose}; this one waits (for {path})"):
        yield


def _acquire(path: Path, message: str) -> AbstractContextManager[object]:
    """The held lock; a second process says `message` and waits, without one it gets a `Timeout`."""
    held = FileLock(path, poll_interval=0.5, fallback_to_soft=False)
    try:
        return held.acquire(blocking=False)
    except Timeout:
        if not message:
            raise
        logger.info(message)
        return held.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s: its file system has no locks; let no other process work there", path)
        return nullcontext()
