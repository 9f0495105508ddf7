"""What the weights of ranking (alpha) and cohesion (beta) trade against each other, beside the paper's curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.data.kinds import describe_kind
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.methods import measure_benchmarks, swept_place
from nearid.paper.metrics import Cell, read_metrics
from nearid.paper.reference import published
from nearid.paper.run import list_measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

METRICS = ("nearid_ssr", "mtg_ssr", "m_o", "m_h")
SHOWN = ("NearID-bench SSR, %", "MTG SSR, %", "M-O", "M-H")
SWEEPS = {"alpha": ("table8", {"beta": 0.0}), "beta": ("table9", {"alpha": 1.0})}


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Benchmarks of the heads on either sweep.

    Returns:
        per sweep `<s>` = alpha, beta: `<s>` [n] ascending, `<s>_ours` [n, metrics, 3]: value and interval (NaN: none),
        `<s>_at` and `<s>_paper` [m], [m, metrics]: the paper's.
    """
    run = settings.run
    metrics = read_metrics(layout, list_measured(run))
    arrays: Arrays = {"comparable": np.array(describe_kind(run.dataset_kind).comparable)}
    for swept, (table, fixed) in SWEEPS.items():
        place = swept_place(fixed, swept)
        found = {}
        for scorer in run.scorers:
            where = place(scorer)
            if where is not None:
                cells = measure_benchmarks(run, metrics, scorer)
                found[float(where)] = [_bounds(cells[metric]) for metric in METRICS]
        arrays[swept] = np.array(sorted(found))
        arrays[f"{swept}_ours"] = np.array([found[at] for at in sorted(found)]).reshape(-1, len(METRICS), 3)
        rows = published()[table]["rows"]
        arrays[f"{swept}_at"] = np.array([row[swept] for row in rows])
        arrays[f"{swept}_paper"] = np.array([[row[metric] for metric in METRICS] for row in rows])
    return arrays


def _bounds(cell: Cell) -> list[float]:
    return [float("nan") if value is None else value for value in (cell.value, cell.low, cell.high)]


def plot(arrays: Arrays, look: Look) -> Figure:
    """A row per sweep, a panel per metric: ours with intervals, the paper's grey and dashed."""
    from nearid.paper.style import MUTED

    figure = look.canvas(height_in=0.52 * look.width_in)
    panels = figure.subplots(len(SWEEPS), len(METRICS), sharex="row", squeeze=False)
    for line, swept in zip(panels, SWEEPS, strict=True):
        at, ours = arrays[swept], arrays[f"{swept}_ours"]
        for column, axes in enumerate(line):
            axes.plot(
                arrays[f"{swept}_at"], arrays[f"{swept}_paper"][:, column], "--o", color=MUTED, ms=3, label="paper"
            )
            known = ~np.isnan(ours[:, column, 0])
            value, low, high = ours[known, column].T
            spread = np.abs(np.nan_to_num(np.stack([value - low, high - value])))
            axes.errorbar(at[known], value, spread, fmt="-s", color=look.colour(0), ms=4, capsize=2, label="this run")
            axes.set_xlabel(swept if known.any() else f"{swept} (not in this run)")
            if swept == "alpha":
                axes.set_title(SHOWN[column])
    handles, labels = panels[0, 0].get_legend_handles_labels()
    title = None if arrays["comparable"] else "Other data than the paper's: compare shapes, not values."
    figure.legend(handles, labels, loc="outside lower center", ncols=2, title=title, title_fontsize=look.font_size)
    return figure
