"""What a job's log file says about its end: the error, and warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

# The form in which `nearid.errors.UserError` is printed.
PROBLEM = re.compile(
    r"^where: +(?P<where>.*?)\nfound: +(?P<found>.*?)\nexpected: +(?P<expected>.*?)\nnext: +(?P<next>[^\n]*)",
    re.MULTILINE | re.DOTALL,
)
CRASH = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Warning)\b.*$", re.MULTILINE)
WARNING = re.compile(r"^WARNING nearid[\w.]*: (.*)$", re.MULTILINE)
INTERRUPTED = "interrupted"
# What our commands and Python print at Ctrl-C.
INTERRUPT = re.compile(r"^(?:interrupted|KeyboardInterrupt)\s*\Z", re.MULTILINE)
TAIL_BYTES = 1 << 16
LONGEST = 500


class Problem(NamedTuple):
    """Why a job failed: the error, the log that has it, what to do next."""

    error: str
    log: str
    next: str


def read_problem(logs: Iterable[str], message: str = "") -> Problem:
    """The error in the last lines of a job's logs, else `message`, which is from Snakemake or a cluster."""
    crash, log = "", ""
    for path in logs:
        text = read_tail(path)
        log = log or (path if text else "")
        if INTERRUPT.search(text):
            return Problem(INTERRUPTED, path, "the same command resumes")
        if told := [*PROBLEM.finditer(text)]:
            parts = {name: shorten(value) for name, value in told[-1].groupdict().items()}
            return Problem(f"{parts['where']}: {parts['found']}; expected {parts['expected']}", path, parts["next"])
        if not crash and (lines := CRASH.findall(text)):
            crash, log = shorten(lines[-1]), path
    if crash:
        return Problem(crash, log, "read the log; once that is corrected, the same command resumes")
    said = shorten(message)
    if not said:
        said = "it ended without a word of why; a kill or too little memory would look like this"
    return Problem(said, log, "read the log; the same command tries it again")


def tells_problem(logs: Iterable[str]) -> bool:
    """Whether a log says why its job failed, or that it was interrupted."""
    return any(pattern.search(read_tail(path)) for path in logs for pattern in (PROBLEM, CRASH, INTERRUPT))


def read_warnings(logs: Iterable[str]) -> Iterator[str]:
    """Warnings of this project's own code."""
    for path in logs:
        yield from map(shorten, WARNING.findall(read_tail(path)))


def read_tail(path: str) -> str:
    """The last lines of a file; empty if it does not exist."""
    try:
        with Path(path).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
    except OSError:
        return ""


def shorten(text: str) -> str:
    """`text` on one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 2]} …"


def strip_frame(text: str) -> str:
    """A message of the workflow without the lines in which Snakemake says where it was raised."""
    if "where:" not in text:
        return text.strip()
    lines = text[text.index("where:") :].splitlines()
    return "\n".join(line for line in lines if not line.startswith('  File "')).strip()
