"""Results of earlier code that somebody took for those of today's (`nearid accept`).

`accepted.json` in a results folder has a fingerprint of today's code for each, and the one that stands for it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearid.config.fingerprint import step_code
from nearid.config.kept import Kept
from nearid.io.files import read_json

ACCEPTED = "accepted.json"


def result_code(step: str, settings: Mapping[str, Any], results: Path, kept: Kept | None = None) -> str:
    """Fingerprint by which results of `step` in the folder `results` are known: today's, or the one accepted for it."""
    code = step_code(step, settings, kept)
    return _aliases(results).get(code, code)


def read_accepted(results: Path) -> list[dict[str, Any]]:
    """What was accepted there, each with `step`, `code`, `stands_for` (the code that made the results) and `why`."""
    path = results / ACCEPTED
    return read_json(path)["accepted"] if path.is_file() else []


def _aliases(results: Path) -> Mapping[str, str]:
    path = results / ACCEPTED
    return _read_aliases(results, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.cache
def _read_aliases(results: Path, modified: int) -> Mapping[str, str]:
    return {entry["code"]: entry["stands_for"] for entry in read_accepted(results)}
