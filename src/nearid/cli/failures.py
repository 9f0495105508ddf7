"""An unexpected exception: four lines for the user, and the full trace in a file to attach to a report."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import click

from nearid import __version__
from nearid.errors import UserError

_PACKAGE = Path(__file__).parents[1]


def explain_fault(error: BaseException, log: Path | None) -> UserError:
    """What to print for `error`; its trace is written beside `log`, or to a temporary file.

    If the trace cannot be written either (a full disk), it goes to the terminal, since nothing else keeps it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    frame = own[-1] if own else frames[-1] if frames else None
    place = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}" if frame else "nearid"
    said = " ".join(str(error).split())
    found = f"{type(error).__name__}: {said[:300]}" if said else type(error).__name__
    text = "".join(traceback.format_exception(error))
    command = " ".join(sys.argv[1:])
    report = f"nearid {__version__}, Python {sys.version.split()[0]}\n{command}\n\n{text}"
    try:
        target = log.with_suffix(".trace.txt") if log else _temporary()
        target.write_text(report, encoding="utf-8", errors="backslashreplace")
        action = f"send {target} to the project, with the config and what you did"
    except OSError:
        click.echo(text, err=True)
        action = "send the lines above to the project, with the config and what you did"
    return UserError(place, found, "a step that ends well: this is a fault of this program", action)


def _temporary() -> Path:
    # A new file with an unpredictable name: others could have put a link to a file of ours under a known one.
    descriptor, name = tempfile.mkstemp(prefix="nearid-trace-", suffix=".txt")
    os.close(descriptor)
    return Path(name)
