"""Results of earlier code that were accepted as if the current code had made them (`nearid accept`).

`accepted.json` in a results folder has fingerprints of the current code, each with the earlier one that stands for it.
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
    """Fingerprint that Snakemake compares for results of `step` in `results`: the current one, or the one accepted."""
    code = step_code(step, settings, kept)
    return _aliases(results).get(code, code)


def read_accepted(results: Path) -> list[dict[str, Any]]:
    """The entries there, each with `step`, `code`, `stands_for` (the code that made the results) and `why`."""
    path = results / ACCEPTED
    return read_json(path)["accepted"] if path.is_file() else []


def _aliases(results: Path) -> Mapping[str, str]:
    path = results / ACCEPTED
    return _read_aliases(results, path.stat().st_mtime_ns) if path.is_file() else {}


@functools.cache
def _read_aliases(results: Path, modified: int) -> Mapping[str, str]:
    return {entry["code"]: entry["stands_for"] for entry in read_accepted(results)}
