"""Messages and progress of long steps (count, rate, time left) on stderr, and the log file that it is copied to."""

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
"""Variable with the `name_of_stream` of a terminal on which another program tells of the steps; they leave it alone."""


def name_of_stream(descriptor: int) -> str:
    """The file behind an open `descriptor`, by device and number; "" where it is closed."""
    try:
        behind = os.fstat(descriptor)
    except OSError:
        return ""
    return f"{behind.st_dev}:{behind.st_ino}"


def is_listened_to() -> bool:
    """Whether our stderr is the terminal on which another program tells of the steps."""
    return os.environ.get(LISTENER, "") == name_of_stream(2) != ""


def _spell(text: str) -> str:
    return "\r".join(map(harmless, text.split("\r")))


class HarmlessStream:
    """A terminal to which text of others is written as `nearid.errors.harmless` spells it; bars may be drawn anew."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        """See `TextIO`."""
        # tqdm goes up to another bar's line in writes of their own.
        self._terminal.write(text if _GO_UP.fullmatch(text) else _spell(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """See `TextIO`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._terminal, name)


class _Tee:
    """A terminal, and a log file that keeps the same, for people to look at: both are spelled as `harmless` does.

    Args:
        terminal: is written first: the log's disk may be full, and that is what has to be said.
        log: descriptor of the file.
        quiet: nothing goes to the terminal but what the log could not take.
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
        # A bar redraws its line: that spoils a log file, and the terminal too where steps run side by side.
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._terminal, name)

    def _keep(self, content: bytes) -> bool:
        try:
            while content:
                content = content[os.write(self._log, content) :]
        except OSError:  # a full disk; whatever else needs it says so
            return False
        return True


def log_to_stderr() -> None:
    """Show messages of this package on stderr, from `INFO` on; warnings say so, and where they come from."""
    package = logging.getLogger("nearid")  # libraries have handlers of their own, or Python's last resort
    package.setLevel(logging.INFO)
    if not package.handlers:
        handler = _StderrHandler()
        handler.setFormatter(_MessageFormatter())
        package.addHandler(handler)


class _StderrHandler(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        # What stderr is now: `logging_to` puts a log file behind it for a while.
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

    Where `LISTENER` names our stderr, it goes to the file alone, that of libraries and child processes too; what the
    file cannot take goes to stderr all the same.
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
    """What is written to `descriptor` meanwhile goes to the file behind `target`; yields where it went before."""
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
        items: what is still to do.
        label: names the step.
        total: how many there are in all, those of an earlier try included.
        done: how many an earlier try finished.
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
