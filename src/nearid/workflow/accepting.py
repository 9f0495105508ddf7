"""Accept results of earlier code as if the current code had made them, step by step, with a reason."""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from nearid import __version__
from nearid.config.accepted import ACCEPTED, read_accepted
from nearid.config.fingerprint import step_code
from nearid.config.references import nearest
from nearid.errors import UserError
from nearid.io.files import write_json
from nearid.workflow.graph import Graph
from nearid.workflow.steps import STEPS

_RECORDS = Path(".snakemake/metadata")
_CODE = re.compile(r"'([0-9a-f]{16})'")


def accept(graph: Graph, steps: Iterable[str], why: str) -> dict[str, int]:
    """Accept the existing results of `steps`; returns for each step how many of them other code had made.

    The code that made a result is read from Snakemake's metadata in the working directory.

    Raises:
        UserError: no such step, or its results were made by two earlier states of the code.
    """
    wanted = list(steps)
    for name in wanted:
        if name not in STEPS:
            raise UserError("nearid accept", f"the step {name}", nearest(name, list(STEPS)), "check the name")
    root = graph.layout.root
    kept = {entry["code"]: entry for entry in read_accepted(root)}
    counts = dict.fromkeys(wanted, 0)
    fresh: dict[str, str] = {}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    for job in graph.jobs():
        name = job.step.name
        made_by = {found for path in graph.outputs(job) if path.exists() and (found := _recorded(path))}
        if name not in counts or len(made_by) != 1:
            continue
        (earlier,) = made_by
        today = step_code(name, graph.settings(name, **job.ids))
        if today == earlier:
            continue
        if fresh.setdefault(today, earlier) != earlier:
            raise UserError(
                f"results of {name}",
                f"made by two states of the code ({fresh[today]}, {earlier})",
                "one, for which today's can stand",
                f"make those of one anew first: `snakemake -n` lists what runs, `--until {name}` stops after it",
            )
        counts[name] += 1
        told = {"step": name, "code": today, "stands_for": earlier, "why": why, "when": when, "version": __version__}
        if kept.get(today, {}).get("stands_for") != earlier:
            kept[today] = told
    if any(counts.values()):
        write_json(root / ACCEPTED, {"accepted": [*kept.values()]})
    return counts


def _recorded(path: Path) -> str:
    """Fingerprint of the code that made `path`, from the params in Snakemake's metadata; empty if not recorded."""
    name = urlsafe_b64encode(str(path).encode()).decode()
    try:
        # Snakemake splits names that are too long for the file system into nested folders.
        most = os.pathconf(_RECORDS, "PC_NAME_MAX") - 1
        parts = [name[start : start + most] for start in range(0, len(name), most)]
        record = _RECORDS.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
        params = json.loads(record.read_text())["params"]
    except (OSError, ValueError, KeyError):
        return ""
    found = [match[1] for param in params if (match := _CODE.fullmatch(str(param)))]
    return found[0] if len(found) == 1 else ""
