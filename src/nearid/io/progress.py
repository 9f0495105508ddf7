"""Messages and progress of long steps (count, rate, time left) on stderr, and a log file with a copy of them."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

from nearid.errors import harmless

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
_GO_UP = re.compile(r"(\x1b\[A)+")

LISTENER = "NEARID_LISTENER"
"""Variable with the `name_of_stream` of a terminal that another program uses to report; steps do not write to it."""


def name_of_stream(descriptor: int) -> str:
    """Identifies the file behind an open `descriptor` by device and inode; "" if the descriptor is closed."""
    try:
        behind = os.fstat(descriptor)
    except OSError:
        return ""
    return f"{behind.st_dev}:{behind.st_ino}"


def is_listened_to() -> bool:
    """Whether our stderr is a terminal that another program uses to report."""
    return os.environ.get(LISTENER, "") == name_of_stream(2) != ""


def _spell(text: str) -> str:
    return "\r".join(map(harmless, text.split("\r")))


class HarmlessStream:
    """A terminal on which control characters are spelled out (`nearid.errors.harmless`), except those of bars."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        """See `TextIO`."""
        # tqdm moves up to another bar's line in separate writes.
        self._terminal.write(text if _GO_UP.fullmatch(text) else _spell(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """See `TextIO`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


class _Tee:
    """Writes to a terminal and to a log file; in both, control characters are spelled out.

    Args:
        terminal: written first, since the log's disk may be full, which must be reported.
        log: descriptor of the file.
        quiet: write to the terminal only what cannot be written to the log.
    """

    def __init__(self, terminal: TextIO, log: int, quiet: bool) -> None:
        self._terminal, self._log, self._quiet = terminal, log, quiet

    def write(self, text: str) -> int:
        length, text = len(text), _spell(text)
        if not self._quiet:
            self._terminal.write(text)
        kept = self._keep(text.encode(errors="backslashreplace"))
        if self._quiet and not kept:
            self._terminal.write(text)
        return length

    def flush(self) -> None:
        self._terminal.flush()

    def isatty(self) -> bool:
        # A bar redraws its line, which would spoil a log file, and the terminal too if steps run side by side.
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._terminal, name)

    def _keep(self, content: bytes) -> bool:
        try:
            while content:
                content = content[os.write(self._log, content) :]
        except OSError:  # a full disk; whatever else needs it reports that
            return False
        return True


def log_to_stderr() -> None:
    """Show this package's messages from `INFO` on on stderr; warnings with their level and origin."""
    package = logging.getLogger("nearid")  # not the root logger: libraries have handlers of their own
    package.setLevel(logging.INFO)
    if not package.handlers:
        handler = _StderrHandler()
        handler.setFormatter(_MessageFormatter())
        package.addHandler(handler)


class _StderrHandler(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        # The current stderr: `logging_to` replaces it for a while.
        self.stream = sys.stderr
        super().emit(record)


class _MessageFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return record.message if record.levelno < logging.WARNING else super().formatMessage(record)


@contextmanager
def logging_to(log: Path) -> Iterator[None]:
    """Copy what is written to stderr in this context (progress, warnings, errors) to the file `log`.

    If `LISTENER` names our stderr, all output, also of libraries and child processes, goes to the file only; what
    cannot be written there goes to stderr all the same.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stderr
    with log.open("wb", buffering=0) as stream, ExitStack() as stack:
        if quiet := is_listened_to():
            kept = stack.enter_context(_moved(2, stream.fileno()))
            terminal: TextIO = stack.enter_context(open(kept, "w", buffering=1, closefd=False))
        else:
            terminal = before
        sys.stderr = _Tee(terminal, stream.fileno(), quiet)  # type: ignore[assignment]
        try:
            yield
        finally:
            sys.stderr.flush()
            sys.stderr = before


@contextmanager
def _moved(descriptor: int, target: int) -> Iterator[int]:
    """Redirect `descriptor` to the file behind `target` in this context; yields a descriptor of its former file."""
    kept = os.dup(descriptor)
    sys.stderr.flush()
    os.dup2(target, descriptor)
    try:
        yield kept
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def track(items: Iterable[Item], label: str, total: int, done: int = 0, interval_s: float = 10.0) -> Iterator[Item]:
    """Yield `items` and report on stderr: a bar in a terminal, else plain lines.

    Args:
        items: those still to do.
        label: names the step.
        total: number of items, including those done earlier.
        done: number of items that an earlier try finished.
        interval_s: seconds between two plain lines.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, desc=label, total=total, initial=done)
        return
    if done:
        logger.info("%s: %d/%d done by an earlier try", label, done, total)
    start = last = time.monotonic()
    count = done
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= interval_s or count == total:
            rate = (count - done) / max(now - start, 1e-9)
            left = (total - count) / rate
            logger.info("%s: %d/%d  %.1f/s  %.0f s left", label, count, total, rate, left)
            last = now
