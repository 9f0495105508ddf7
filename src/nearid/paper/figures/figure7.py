"""Figure 7: test identities as pictures, with every scorer's similarity to the anchor."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill, shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearid.config.settings.paper import ComputeFigure, Run
from nearid.errors import UserError
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.identities import ShownIdentity, choose_identities
from nearid.paper.pictures import fit_square
from nearid.paper.scored import find_scored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

POSITIVES = 2


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Anchor, its other views, and its distractors from every source of the figure, with similarities (paper figure 7).

    Similarities are those of NearID-bench under `condition`: the anchor is view 0; the distractors, painted into it,
    share its background.

    Args:
        settings: of `compute_figure`.
        layout: of the results folder.

    Returns:
        `images` [rows, columns, size, size, 3], `present` [rows, columns], `similarities` [rows, columns, scorers]
        (NaN for the anchor and where there is none), `columns`, `scorers`, `rows`: their names; `absent`: scorers
        without scores; `ids` [rows].

    Raises:
        UserError: no identities, or images or scores of one are missing.
    """
    run = settings.run
    chosen = choose_identities(layout, "test", settings.rows, settings.seed, "figure7")
    columns = [
        "anchor",
        *[f"view {slot + 2}" for slot in range(POSITIVES)],
        *(source.display for source in run.sources),
    ]
    size = settings.size_px
    images = np.full((len(chosen), len(columns), size, size, 3), 255, np.uint8)
    present = np.zeros(images.shape[:2], bool)
    pictures: dict[tuple[Path, str], Any] = {}
    for row, identity in enumerate(chosen):
        places = [(layout.positives(identity.shard), f"images{slot + 1}") for slot in range(1 + POSITIVES)]
        places += [(layout.distractors(source.id, identity.shard), "nimg1") for source in run.sources]
        for column, (path, name) in enumerate(places):
            if (path, name) not in pictures:
                pictures[path, name] = read_table(path, [name])[name]
            content = image_bytes(pictures[path, name][identity.shard_row].as_py())
            if content is not None:
                images[row, column] = fit_square(decode_rgb(content, f"{path}, id {identity.id}, {name}"), size)
                present[row, column] = True
    condition = settings.condition
    scorers, absent = find_scored(run, layout, "nearid_bench")
    similarities = np.stack(
        [_read_similarities(layout, scorer.id, condition, run, chosen) for scorer in scorers], axis=-1
    )
    return {
        "images": images,
        "present": present,
        "similarities": similarities,
        "columns": np.array(columns),
        "scorers": np.array([scorer.display for scorer in scorers]),
        "absent": np.array(absent, dtype=str),
        "rows": np.array([identity.class_name for identity in chosen]),
        "ids": np.array([identity.id for identity in chosen]),
    }


def find_fooled(similarities: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where a distractor is at least as similar to the anchor as one of its other views; [rows, columns, scorers]."""
    views = similarities[:, 1 : 1 + POSITIVES]
    least = np.where(np.isnan(views), np.inf, views).min(axis=1, keepdims=True)
    fooled = similarities >= least
    fooled[:, : 1 + POSITIVES] = False
    return fooled


def plot(arrays: Arrays, look: Look) -> Figure:
    """A row of pictures per identity; under each picture its similarities, one line per scorer."""
    from nearid.paper.style import MUTED, WARNING

    count, width = arrays["present"].shape
    gap_in, line_in, head_in = 0.05, 1.5 * look.font_size / 72, 0.4
    name_in, name_size = look.fit_labels(arrays["scorers"], 1.0)
    label_in = name_in + 3 * gap_in
    picture_in = (look.width_in - label_in) / width - gap_in
    row_in = picture_in + line_in * (len(arrays["scorers"]) + 0.6)
    height_in = head_in + count * row_in + 1.6 * line_in
    figure = look.canvas(height_in, layout=None)
    # One pair of axes in inches: a grid of so many would take matplotlib's layout engine many seconds.
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, look.width_in), ylim=(height_in, 0), aspect="equal")
    axes.set_axis_off()
    fooled = find_fooled(arrays["similarities"])

    def write(x: float, y: float, text: str, align: str = "center", **style: Any) -> None:
        axes.text(x, y, text, ha=align, **{"va": "center", **style})

    for row in range(count):
        top = head_in + row * row_in
        lines = [top + picture_in + line_in * (index + 0.75) for index in range(len(arrays["scorers"]))]
        write(
            label_in - 2 * gap_in,
            top + picture_in / 2,
            fill(shorten(arrays["rows"][row], 48, placeholder=" …"), 16),
            "right",
        )
        for y, scorer in zip(lines, arrays["scorers"], strict=True):
            write(label_in - 2 * gap_in, y, scorer, "right", fontsize=name_size)
        for column in range(width):
            left = label_in + column * (picture_in + gap_in)
            middle = left + picture_in / 2
            if row == 0:
                write(middle, top - gap_in, fill(arrays["columns"][column], 14, break_on_hyphens=False), va="bottom")
            if not arrays["present"][row, column]:
                write(middle, top + picture_in / 2, "none", color=MUTED)
                continue
            extent = (left, left + picture_in, top + picture_in, top)
            axes.imshow(arrays["images"][row, column], extent=extent, interpolation="lanczos")
            for y, value, bad in zip(lines, arrays["similarities"][row, column], fooled[row, column], strict=True):
                if not np.isnan(value):
                    write(middle, y, f"{value:.2f}" + (" ✗" if bad else ""), color=WARNING if bad else "black")
    # Drawing an image has changed the limits.
    axes.set(xlim=(0, look.width_in), ylim=(height_in, 0))
    note = "Similarity to the anchor. ✗: a distractor at least as similar as one of the object's other views."
    if len(arrays["absent"]):
        note += f" Without scores: {', '.join(arrays['absent'])}."
    write(look.width_in / 2, height_in - 0.9 * line_in, note)
    return figure


def _read_similarities(
    layout: Layout, scorer: str, condition: str, run: Run, chosen: list[ShownIdentity]
) -> NDArray[np.float64]:
    """Similarities [rows, columns] to the anchor; NaN in the anchor's own column."""
    path = layout.scores(scorer, "nearid_bench")
    names = ["id", "source", "sim_01", "sim_02", "cross_00"]
    table = read_table(path, [*names, "condition"]).filter(pc.field("condition") == condition)
    found = {(row["id"], row["source"]): row for row in table.select(names).to_pylist()}
    values = np.full((len(chosen), 1 + POSITIVES + len(run.sources)), np.nan)
    for row, identity in enumerate(chosen):
        for column, source in enumerate(run.sources, start=1 + POSITIVES):
            if (identity.id, source.id) not in found:
                raise UserError(
                    path, f"no row of id {identity.id}, source {source.id}", "a row per identity and source", "score it"
                )
            scored = found[identity.id, source.id]
            values[row, 1 : 1 + POSITIVES] = scored["sim_01"], scored["sim_02"]
            values[row, column] = scored["cross_00"]
    return values
