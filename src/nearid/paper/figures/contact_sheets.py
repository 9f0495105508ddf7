"""A contact sheet per source of distractors: views above, what was painted into them below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearid.config.settings.paper import ComputeFigure
from nearid.data.schema import SLOTS
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.identities import choose_identities
from nearid.paper.pictures import fit_square

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

GAP_PX = 4


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """View 1 of the same test identities for every source, with its distractor.

    Returns:
        `images` [sources, 2, identities, size, size, 3], `present` [sources, identities]: whether there is a
        distractor, `painted`, `empty` [sources]: slots of the test identities with and without one; `sources`: names,
        `ids`.

    Raises:
        UserError: no test identities, or files are missing.
    """
    run, size = settings.run, settings.size_px
    chosen = choose_identities(layout, "test", settings.rows, settings.seed, settings.figure)
    rows = [row for row in read_table(layout.identities).to_pylist() if row["split"] == "test"]
    images = np.full((len(run.sources), 2, len(chosen), size, size, 3), 255, np.uint8)
    present = np.zeros((len(run.sources), len(chosen)), bool)
    painted, empty = [], []
    for index, source in enumerate(run.sources):
        files = {shard: layout.distractors(source.id, shard) for shard in sorted({row["shard"] for row in rows})}
        flags = Counter(_read_flags(files, rows))
        painted.append(flags["ok"])
        empty.append(sum(flags.values()) - flags["ok"])
        for column, identity in enumerate(chosen):
            places = ((layout.positives(identity.shard), "images1"), (files[identity.shard], "nimg1"))
            for line, (path, name) in enumerate(places):
                content = image_bytes(read_table(path, [name])[name][identity.shard_row].as_py())
                if content is not None:
                    images[index, line, column] = fit_square(decode_rgb(content, f"{path}, id {identity.id}"), size)
                    present[index, column] |= line == 1
    return {
        "images": images,
        "present": present,
        "painted": np.array(painted),
        "empty": np.array(empty),
        "sources": np.array([source.display for source in run.sources]),
        "ids": np.array([identity.id for identity in chosen]),
    }


def _read_flags(files: Mapping[str, Path], rows: list[dict[str, Any]]) -> list[str]:
    """The flags of all slots that hold a view."""
    names = [f"flag{slot}" for slot in SLOTS]
    tables = {shard: read_table(path, names) for shard, path in files.items()}
    found = (tables[row["shard"]][name][row["shard_row"]].as_py() for row in rows for name in names)
    return [flag for flag in found if flag is not None]


def plot(arrays: Arrays, look: Look) -> Figure:
    """Two lines of pictures per source, under its name and counts."""
    from nearid.paper.style import MUTED

    sources, _, columns = arrays["images"].shape[:3]
    head_in, gap_in = 2.6 * look.font_size / 72, 0.08
    sheets = [_lay_out(images) for images in arrays["images"]]
    sheet_in = look.width_in * sheets[0].shape[0] / sheets[0].shape[1]
    height_in = sources * (head_in + sheet_in + gap_in)
    figure = look.canvas(height_in, layout=None)
    # In inches from the top: rows of pictures need no layout engine.
    axes = figure.add_axes((0, 0, 1, 1), aspect="equal")
    axes.set_axis_off()
    for index, sheet in enumerate(sheets):
        top = index * (head_in + sheet_in + gap_in)
        counts = f"{arrays['painted'][index]} painted, {arrays['empty'][index]} left empty (test)"
        axes.text(0.03, top + 0.55 * head_in, arrays["sources"][index], va="center", fontsize=look.font_size + 1)
        axes.text(look.width_in - 0.03, top + 0.55 * head_in, counts, va="center", ha="right", color=MUTED)
        axes.imshow(sheet, extent=(0, look.width_in, top + head_in + sheet_in, top + head_in), interpolation="lanczos")
        for column in np.flatnonzero(~arrays["present"][index]):
            middle = (column + 0.5) * look.width_in / columns
            axes.text(middle, top + head_in + 0.75 * sheet_in, "none", ha="center", va="center", color=MUTED)
    axes.set(xlim=(0, look.width_in), ylim=(height_in, 0))
    return figure


def _lay_out(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures [lines, columns, size, size, 3] as one, white between them."""
    framed = np.pad(images, ((0, 0), (0, 0), (0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=255)
    lines, columns, height, width, _ = framed.shape
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, 3)
    return sheet[:-GAP_PX, :-GAP_PX]
