"""The result of a check, and how a check calls other programs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        level: `fine`, `note` (a run may still do) or `fault` (a run will fail).
        found: what is there.
        action: what to do; empty where all is fine.
    """

    check: str
    level: Literal["fine", "note", "fault"]
    found: str
    action: str = ""


def ask(*command: str, timeout_s: float = 20) -> tuple[int, str] | None:
    """Exit code and words of a program; None where it is missing or takes longer than `timeout_s` seconds."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, (done.stdout or done.stderr).strip()


def brief(text: str) -> str:
    """A program's words on one line."""
    return " ".join(text.split())[:100]
