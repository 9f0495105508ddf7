"""The page's browser of test identities: a strip of pictures per identity, and every scorer's margins as a script."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nearid.config.settings.paper import Run, ShowIdentities
from nearid.io.files import write_bytes, write_text
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.margins import VIEW_PAIRS, directed_margins
from nearid.paper.pictures import fit_square
from nearid.paper.scored import find_scored, read_columns
from nearid.paper.scripts import dump_script
from nearid.scores.margins import CROSSES, SIMILARITIES

SLOTS = 3
SIZE_PX = 96
QUALITY = 88
_WAYS = [(f"sim_{i}{j}", f"cross_{k}{k}") for i, j in VIEW_PAIRS for k in (i, j)]


def write_browser(settings: ShowIdentities, layout: Layout) -> None:
    """Write paper/identities/<id>.jpg and paper/identities/index.js (settings of `show_identities`).

    A strip has a row of views and a row per source, a column per view; an empty place is white. The index gives for
    each identity, scorer and source the smallest margin with the two similarities that make it (null: no trial).
    """
    run = settings.run
    names = ["row", "id", "shard", "shard_row", "n_images", "name", "class_name", "split"]
    rows = [row for row in read_table(layout.identities, names).to_pylist() if row["split"] == "test"]
    rows.sort(key=lambda row: row["row"])
    folder = layout.paper("identities")
    for shard in dict.fromkeys(row["shard"] for row in rows):
        _write_strips([row for row in rows if row["shard"] == shard], shard, run, SIZE_PX, layout, folder)
    scorers, _ = find_scored(run, layout, "nearid_bench")
    margins = [_find_worst(layout, scorer.id, run, "full") for scorer in scorers]
    content = {
        "scorers": [scorer.display for scorer in scorers],
        # Whose failures are shown first: NearID's, else the last scorer's.
        "first": next((n for n, scorer in enumerate(scorers) if scorer.paper_row == "nearid"), len(scorers) - 1),
        "sources": [source.display for source in run.sources],
        "size": SIZE_PX,
        "identities": [
            {
                "id": row["id"],
                "name": row["name"],
                "class": row["class_name"],
                "views": row["n_images"],
                "worst": [[own.get((row["id"], source.id)) for source in run.sources] for own in margins],
            }
            for row in rows
        ],
    }
    write_text(folder / "index.js", f"window.identities = {dump_script(content)};\n")


def _find_worst(layout: Layout, scorer: str, run: Run, condition: str) -> dict[tuple[int, str], list[float]]:
    """(identity, source) -> smallest margin, similarity of the views, similarity to the distractor."""
    columns: dict[str, Any] = read_columns(
        layout, scorer, "nearid_bench", condition, ("id", "source", *SIMILARITIES, *CROSSES)
    )
    margins = directed_margins(columns)
    found = {}
    for row in np.flatnonzero(~np.isnan(margins).all(1)):
        way = int(np.nanargmin(margins[row]))
        views, distractor = (float(columns[name][row]) for name in _WAYS[way])
        values = [round(value, 4) for value in (views - distractor, views, distractor)]
        found[int(columns["id"][row]), str(columns["source"][row])] = values
    return found


def _write_strips(rows: list[dict[str, Any]], shard: str, run: Run, size: int, layout: Layout, folder: Path) -> None:
    """Write a shard's strips, reading one file after the other: its pictures are never all in memory at once."""
    strips = {row["id"]: np.full(((1 + len(run.sources)) * size, SLOTS * size, 3), 255, np.uint8) for row in rows}
    files = [(layout.positives(shard), "images"), *((layout.distractors(s.id, shard), "nimg") for s in run.sources)]
    for line, (path, name) in enumerate(files):
        for slot in range(SLOTS):
            pictures = read_table(path, [f"{name}{slot + 1}"])[f"{name}{slot + 1}"]
            for row in rows:
                content = image_bytes(pictures[row["shard_row"]].as_py())
                if content is not None:
                    pixels = fit_square(decode_rgb(content, f"{path}, id {row['id']}"), size)
                    strips[row["id"]][line * size : (line + 1) * size, slot * size : (slot + 1) * size] = pixels
    for id, strip in strips.items():
        buffer = io.BytesIO()
        Image.fromarray(strip).save(buffer, "JPEG", quality=QUALITY)
        write_bytes(folder / f"{id}.jpg", buffer.getvalue())
