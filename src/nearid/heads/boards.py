"""Training logs as TensorBoard event files, for finished heads and for those in training."""

from __future__ import annotations

import json
from pathlib import Path

from nearid.errors import UserError
from nearid.layout import Layout


def find_logs(layout: Layout) -> dict[str, Path]:
    """The log of each head: that of a training in progress, else the declared one."""
    folders = [path for path in sorted((layout.root / "heads").glob("*")) if not path.name.startswith(".")]
    found = {}
    for folder in folders:
        growing = sorted(folder.glob(".progress/*/*.jsonl"), key=lambda path: path.stat().st_mtime)
        finished = layout.head_file(folder.name, "log.jsonl")
        if growing or finished.is_file():
            found[folder.name] = growing[-1] if growing else finished
    return found


def write_boards(layout: Layout, target: Path) -> dict[str, int]:
    """Write the logs of all heads below `target`, a folder per head; returns each head's number of steps.

    What an earlier call wrote is replaced, so that no step is there twice.

    Raises:
        UserError: no head has a log, or tensorboardX is not installed.
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UserError(
            "TensorBoard files", "no package tensorboardX", "it, to write them", "pip install tensorboardX"
        ) from error
    logs = find_logs(layout)
    if not logs:
        raise UserError(layout.root / "heads", "no log of a training", "at least one head", "train one (`train_head`)")
    counts = {}
    for name, path in logs.items():
        for old in (target / name).glob("events.out.tfevents.*"):
            old.unlink()
        # The last line of a training in progress may be incomplete.
        lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        with SummaryWriter(str(target / name)) as board:
            for record in map(json.loads, lines):
                for key, value in record.items():
                    if key != "step":
                        board.add_scalar(key, value, record["step"])
        counts[name] = len(lines)
    return counts
