"""Figure 8: part edits with object and part outlined, every scorer's similarity, and the oracle."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.io.randomness import keyed_rng
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.pictures import fit_square
from nearid.paper.scored import find_scored, read_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

logger = logging.getLogger(__name__)

COLUMNS = ("image 1", "image 2", "1, part edited", "2, part edited")
_FILES = ("image_1_original", "image_2_original", "image_1_inpainted", "image_2_inpainted")
# Similarity to image 1 under each picture.
_SIMILARITIES = (None, "s_12", "s_11e", "s_12e")
_ORACLES = (None, None, "oracle_1", "oracle_2")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Samples of the part-edit test set, drawn by the figure's seed (paper figure 8).

    Returns:
        `images` [rows, 4, size, size, 3], `objects`, `parts` [rows, 4, size, size]: masks; `similarities`
        [rows, 4, scorers] to image 1 (NaN for itself), `oracle` [rows, 4]; `scorers`, `ids`.

    Raises:
        UserError: the set has no samples, or no scorer has scores of it.
    """
    run = settings.run
    scorers, absent = find_scored(run, layout, "mtg")
    path = layout.mtg("test")
    ids = read_table(path, ["id"])["id"].to_pylist()
    count, size = settings.rows, settings.size_px
    if not ids:
        raise UserError(path, "no samples", f"some to show in {settings.figure}", "select fewer figures")
    if len(ids) < count:
        logger.warning("%s: the set has %d of %d samples, which are shown", settings.figure, len(ids), count)
        count = len(ids)
    chosen = sorted(keyed_rng("figure", settings.figure, settings.seed).permutation(len(ids))[:count].tolist())
    masks = [f"image_{number}_{kind}_mask" for number in (1, 2) for kind in ("object", "part")]
    rows = read_table(path, ["id", *_FILES, *masks]).take(chosen).to_pylist()
    images = np.full((count, 4, size, size, 3), 255, np.uint8)
    outlines = {kind: np.zeros((count, 4, size, size), bool) for kind in ("object", "part")}
    for place, row in enumerate(rows):
        for column, name in enumerate(_FILES):
            pixels = decode_rgb(image_bytes(row[name]) or b"", f"{path}, {row['id']}, {name}")
            images[place, column] = fit_square(pixels, size)
            for kind, found in outlines.items():
                mask = image_bytes(row[f"image_{1 + column % 2}_{kind}_mask"])
                if mask is not None:
                    pixels = decode_stored_mask(mask, f"{path}, {row['id']}").astype(np.uint8) * 255
                    found[place, column] = fit_square(pixels, size, "black") > 127
    similarities = np.full((count, 4, len(scorers)), np.nan)
    oracle = np.full((count, 4), np.nan)
    names = ("sample", *(name for name in (*_SIMILARITIES, *_ORACLES) if name))
    for index, scorer in enumerate(scorers):
        columns = read_columns(layout, scorer.id, "mtg", settings.condition, names)
        places = [int(np.flatnonzero(columns["sample"] == row["id"])[0]) for row in rows]
        for column in range(1, 4):
            similarities[:, column, index] = columns[_SIMILARITIES[column]][places]  # type: ignore[index]
            if _ORACLES[column]:
                oracle[:, column] = columns[_ORACLES[column]][places]  # type: ignore[index]
    return {
        "images": images,
        "objects": outlines["object"],
        "parts": outlines["part"],
        "similarities": similarities,
        "oracle": oracle,
        "scorers": np.array([scorer.display for scorer in scorers]),
        "absent": np.array(absent, dtype=str),
        "ids": np.array([row["id"] for row in rows]),
    }


def plot(arrays: Arrays, look: Look) -> Figure:
    """A row per sample; dashed green: the object, red: the part that was edited; below, similarities to image 1."""
    rows, names = len(arrays["ids"]), arrays["scorers"]
    line_in, gap_in, head_in = 1.5 * look.font_size / 72, 0.06, 0.3
    name_in, name_size = look.fit_labels(names, 0.95)
    label_in = name_in + 0.15
    width_in = min(look.width_in, 6.0)
    picture_in = (width_in - label_in) / len(COLUMNS) - gap_in
    row_in = picture_in + line_in * (len(names) + 1.8)
    height_in = head_in + rows * row_in + 1.4 * line_in
    figure = look.canvas(height_in, layout=None)
    figure.set_size_inches(width_in, look.height_in or height_in)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width_in), ylim=(height_in, 0), aspect="equal")
    axes.set_axis_off()
    size = arrays["images"].shape[2]
    for row in range(rows):
        top = head_in + row * row_in
        lines = [top + picture_in + line_in * (index + 0.8) for index in range(len(names) + 1)]
        for y, name in zip(lines, [*names, "oracle"], strict=True):
            style = "italic" if name == "oracle" else "normal"
            axes.text(label_in - 0.1, y, name, ha="right", va="center", style=style, fontsize=name_size)
        for column, title in enumerate(COLUMNS):
            left = label_in + column * (picture_in + gap_in)
            if row == 0:
                axes.text(left + picture_in / 2, top - 0.06, title, ha="center", va="bottom")
            extent = (left, left + picture_in, top + picture_in, top)
            axes.imshow(arrays["images"][row, column], extent=extent, interpolation="lanczos")
            grid = (np.arange(size) + 0.5) * picture_in / size
            # Red and green as in the paper, solid and dashed for the colour-blind, on white for dark pictures.
            for kind, colour, line in (("objects", "#007a50", "--"), ("parts", "#e02020", "-")):
                mask = arrays[kind][row, column].astype(float)
                if 0 < mask.sum() < mask.size:
                    for ink, style, thick in (("white", "-", 1.8), (colour, line, 1.0)):
                        axes.contour(
                            left + grid, top + grid, mask, [0.5], colors=ink, linestyles=style, linewidths=thick
                        )
            values = [*arrays["similarities"][row, column], arrays["oracle"][row, column]]
            for y, value in zip(lines, values, strict=True):
                if not np.isnan(value):
                    axes.text(left + picture_in / 2, y, f"{value:.2f}", ha="center", va="center")
    axes.set(xlim=(0, width_in), ylim=(height_in, 0))
    note = "Similarity to image 1. Green, dashed: object; red: edited part. Oracle: share of the object left alone."
    axes.text(width_in / 2, height_in - 0.8 * line_in, note, ha="center", va="center", fontsize=look.font_size - 1)
    return figure
