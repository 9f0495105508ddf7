"""A folder that one job at a time works in."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nearid.errors import UserError

logger = logging.getLogger(__name__)


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
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UserError(folder, f"another process {work}", "one at a time", "wait for it, or end it") from None
            logger.info("another job %s; waiting for it", work)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
