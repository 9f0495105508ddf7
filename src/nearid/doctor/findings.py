"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        level: `fine`, `note` (a run may still succeed) or `fault` (a run will fail).
        found: what is there.
        action: what to do; empty if all is fine.
    """

    check: str
    level: Literal["fine", "note", "fault"]
    found: str
    action: str = ""
