"""Test identities as pictures, with every scorer's similarity to the anchor (paper figure 7)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nearid.errors import UserError
from nearid.io.images import decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.identities import Chosen, choose_identities
from nearid.paper.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

POSITIVES = 2


def compute(settings: Mapping[str, Any], layout: Layout) -> Arrays:
    """Anchor, its other views, and its distractors from every source of the figure, with similarities.

    Similarities are those of NearID-bench under `condition`: the anchor is view 0; the distractors, painted into it,
    share its background.

    Args:
        settings: of `compute_figure`.
        layout: of the results folder.

    Returns:
        `images` [rows, columns, size, size, 3], `present` [rows, columns], `similarities` [rows, columns, scorers]
        (NaN for the anchor and where there is none), `columns`, `scorers`, `rows`: their names; `ids` [rows].

    Raises:
        UserError: too few identities, or images or scores of one are missing.
    """
    run = Run.from_settings(settings["run"])
    chosen = choose_identities(layout, "test", settings["rows"], settings["seed"], "qualitative")
    columns = [
        "anchor",
        *[f"view {slot + 2}" for slot in range(POSITIVES)],
        *(source.display for source in run.sources),
    ]
    size = settings["size_px"]
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
                images[row, column] = _fit(decode_rgb(content, f"{path}, id {identity.id}, {name}"), size)
                present[row, column] = True
    condition = settings["condition"]
    similarities = np.stack(
        [_read_similarities(layout, scorer.id, condition, run, chosen) for scorer in run.scorers], axis=-1
    )
    return {
        "images": images,
        "present": present,
        "similarities": similarities,
        "columns": np.array(columns),
        "scorers": np.array([scorer.display for scorer in run.scorers]),
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
    scorers = list(arrays["scorers"])
    label_width = 1.25
    picture_in = (look.width_in - 0.9) / (width + label_width * 0.6)
    line_in = 1.45 * look.font_size / 72
    text_in = line_in * (len(scorers) + 0.5)
    height_in = 0.55 + count * (picture_in + text_in)
    figure = look.canvas(height_in, w_pad=0.02, h_pad=0.01, wspace=0.02, hspace=0.01)
    grid = figure.subplots(
        2 * count,
        width + 1,
        squeeze=False,
        gridspec_kw={"height_ratios": [picture_in, text_in] * count, "width_ratios": [label_width] + [1] * width},
    )
    for axes in grid.flat:
        axes.set_axis_off()
    fooled = find_fooled(arrays["similarities"])
    for row in range(count):
        pictures, texts = grid[2 * row], grid[2 * row + 1]
        pictures[0].text(0.98, 0.5, arrays["rows"][row], ha="right", va="center", transform=pictures[0].transAxes)
        _write(texts[0], scorers, ["black"] * len(scorers), x=0.98, align="right")
        for column in range(width):
            axes = pictures[column + 1]
            if row == 0:
                axes.set_title(fill(arrays["columns"][column], 14), fontsize=look.font_size)
            if not arrays["present"][row, column]:
                axes.text(0.5, 0.5, "none", ha="center", va="center", color=MUTED, transform=axes.transAxes)
                continue
            axes.imshow(arrays["images"][row, column], interpolation="lanczos")
            values, wrong = arrays["similarities"][row, column], fooled[row, column]
            lines = [
                "" if np.isnan(value) else f"{value:.2f}" + (" ✗" if bad else "")
                for value, bad in zip(values, wrong, strict=True)
            ]
            _write(texts[column + 1], lines, [WARNING if bad else "black" for bad in wrong], x=0.5, align="center")
    figure.supxlabel(
        "Similarity to the anchor. ✗: a distractor at least as similar as one of the object's other views.",
        fontsize=look.font_size,
    )
    return figure


def _write(axes: Axes, lines: list[str], colours: list[str], x: float, align: str) -> None:
    for index, (line, colour) in enumerate(zip(lines, colours, strict=True)):
        y = 1 - (index + 0.5) / (len(lines) + 0.5)
        axes.text(x, y, line, ha=align, va="center", color=colour, transform=axes.transAxes)


def _fit(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.pad(Image.fromarray(image), (size, size), Image.Resampling.LANCZOS, color="white"))


def _read_similarities(
    layout: Layout, scorer: str, condition: str, run: Run, chosen: list[Chosen]
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
