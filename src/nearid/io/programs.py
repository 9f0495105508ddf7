"""Calls of other programs, and their output on one line."""

from __future__ import annotations

import shutil
import subprocess


def ask(*command: str, timeout_s: float = 20) -> tuple[int, str] | None:
    """Exit code and output of a program; None if it is missing or takes longer than `timeout_s` seconds."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None
    return done.returncode, (done.stdout or done.stderr).strip()


def brief(text: str) -> str:
    """A program's output on one line, shortened."""
    return " ".join(text.split())[:100]
