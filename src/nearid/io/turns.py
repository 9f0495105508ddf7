"""Taking turns: what two processes must not do in one folder at the same time."""

from __future__ import annotations

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def taking_turns(lock: Path, purpose: str) -> Iterator[None]:
    """Wait until no other process is in here with the file `lock`, and keep the next ones waiting meanwhile.

    The kernel ends the turn of a process that was killed. On a file system without
    locks a warning says so, and nobody waits.

    Args:
        lock: a file for this alone; it is made, and stays.
        purpose: what the others do, for those who wait.

    Raises:
        OSError: it cannot be written.
    """
    with lock.open("w") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process %s; this one waits (for %s)", purpose, lock)
            fcntl.flock(turn, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logger.warning("%s: its file system has no locks; let no other process work there", lock)
        yield
