"""How many identities each step of the curation kept, beside the counts that the paper prints."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nearid.data.records import STEPS, Dropped
from nearid.data.splits import Found
from nearid.io.files import write_text

logger = logging.getLogger(__name__)

PAPER = {"identities": 19386, "images": 45215, "with two views": 12943, "with three views": 6443}
"""Of the paper's data set, whose printed 6,433 three-view identities fit neither total (docs/protocol.md 1.2)."""


def write_funnel(
    target: Path,
    total: int,
    dropped: Sequence[Dropped],
    rows: Sequence[Mapping[str, Any]],
    check_counts: bool,
    official: Mapping[str, Found] | None = None,
) -> None:
    """Write the funnel as a table, and warn if the final counts differ from the paper's; no data is dropped to match.

    Args:
        target: `data/funnel.tsv`.
        total: records of the data set.
        dropped: views and identities that were dropped.
        rows: the identities that stay, with `n_images`.
        check_counts: compare with `PAPER`.
        official: how many identities of each official split are among `rows`.
    """
    fallen = Counter(record.step for record in dropped if not record.view)
    lines = ["step\tkept\tdropped", f"records\t{total}\t0"]
    left = total
    for step in STEPS:
        left -= fallen[step]
        lines.append(f"{step}\t{left}\t{fallen[step]}")
    sizes = Counter(row["n_images"] for row in rows)
    found = {
        "identities": len(rows),
        "images": sum(row["n_images"] for row in rows),
        "with two views": sizes[2],
        "with three views": sizes[3],
    }
    lines += ["", "count\tfound\tpaper\tdifference"]
    for name, number in found.items():
        difference = number - PAPER[name]
        lines.append(f"{name}\t{number}\t{PAPER[name]}\t{difference:+d}" if check_counts else f"{name}\t{number}\t\t")
        if check_counts and difference:
            logger.warning("%s: %d here, %d in the paper, difference %+d", name, number, PAPER[name], difference)
    if official:
        lines += ["", "official split\tlisted\tby id and asset\tby asset\tnot here"]
        for name, counts in official.items():
            numbers = (counts.listed, counts.by_both, counts.by_asset)
            lines.append("\t".join([name, *map(str, numbers), str(counts.listed - counts.by_both - counts.by_asset)]))
    write_text(target, "\n".join(lines) + "\n")
