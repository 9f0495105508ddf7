"""Figure 4: agreement with humans per category, as radars and as bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.metrics import read_metrics
from nearid.paper.reference import published_rows
from nearid.paper.tables.figure4 import CATEGORIES, paper_row_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

OURS = "nearid"


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """M-H per category with its standard error, ours and the paper's (paper figure 4).

    Returns:
        `values`, `errors`, `paper` [scorers, categories] (NaN: none), `scorers`, `ours` [scorers]: which is NearID,
        `reasons` [scorers]: why there is no value; `simulated`: whether the raters are.
    """
    run = settings.run
    metrics = read_metrics(layout, [scorer.id for scorer in run.scorers])
    values, errors, paper, reasons = [], [], [], []
    for scorer in run.scorers:
        cells = [metrics[scorer.id].alignment(None, category=category) for category in CATEGORIES.values()]
        values.append([_number(value.value) for value, _ in cells])
        errors.append([_number(error.value) for _, error in cells])
        empty = all(value.value is None for value, _ in cells)
        reasons.append(cells[0][0].reason if empty else "")
        row = published_rows("figure4").get(paper_row_of(scorer) or "", {})
        paper.append([_number(row.get(category)) for category in CATEGORIES])
    return {
        "values": np.array(values),
        "errors": np.array(errors),
        "paper": np.array(paper),
        "scorers": np.array([scorer.display for scorer in run.scorers]),
        "ours": np.array([scorer.paper_row == OURS for scorer in run.scorers]),
        "reasons": np.array(reasons),
        "simulated": np.array(run.simulated_raters),
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def plot(arrays: Arrays, look: Look) -> Figure:
    """A radar per other scorer with NearID dashed in each, and all as bars with standard errors below."""
    from nearid.paper.style import MUTED

    raters = "simulated raters" if arrays.get("simulated", False) else "humans"
    shown, errors, title = arrays["values"], arrays["errors"], f"Agreement with {raters} (M-H)"
    if np.isnan(shown).all():
        # A run without human ratings has nothing of its own to show; the paper's values show what the figure is about.
        shown = arrays["paper"]
        title, errors = "The paper's values: this run has no human ratings", np.full_like(shown, np.nan)
    known = ~np.isnan(shown).all(1)
    # People may have rated only some categories; radars are drawn if they rated all.
    rated = np.flatnonzero(~np.isnan(shown).all(0))
    if 0 < len(rated) < len(CATEGORIES):
        title += f": rated are {', '.join(list(CATEGORIES)[place] for place in rated)}"
    names = arrays["scorers"]
    ours = next(iter(np.flatnonzero(arrays["ours"] & known)), None)
    others = [index for index in np.flatnonzero(known) if index != ours]
    radars = len(rated) == len(CATEGORIES)
    figure = look.canvas(height_in=(0.62 if radars else 0.34) * look.width_in)
    halves: Any = figure.subfigures(2 if radars else 1, 1, squeeze=False)[:, 0]
    upper, lower = halves[0], halves[-1]
    angles = np.linspace(0, 2 * np.pi, len(CATEGORIES) + 1)
    top = max(0.1, float(np.nanmax(shown[known]))) if known.any() else 1.0
    panels = (
        upper.subplots(1, max(1, len(others)), subplot_kw={"projection": "polar"}, squeeze=False)[0] if radars else []
    )
    for axes, index in zip(panels, others, strict=False):
        axes.set_theta_offset(np.pi / 2)
        axes.plot(angles, np.append(shown[index], shown[index][0]), color=look.colour(index))
        axes.fill(angles, np.append(shown[index], shown[index][0]), color=look.colour(index), alpha=0.25)
        if ours is not None:
            axes.plot(angles, np.append(shown[ours], shown[ours][0]), "--", color="black", linewidth=1)
        axes.set(xticks=angles[:-1], xticklabels=list(CATEGORIES), ylim=(0, 1.1 * top))
        axes.set_yticks([0.2, 0.4, 0.6][: max(1, int(top / 0.2))], [])
        axes.set_title(names[index])
    axes = lower.subplots()
    width = 0.8 / max(1, int(known.sum()))
    for place, index in enumerate(np.flatnonzero(known)):
        at = np.arange(len(rated)) + (place - (known.sum() - 1) / 2) * width
        style = {"hatch": "//", "edgecolor": "white"} if index == ours else {}
        axes.bar(at, shown[index][rated], width, color=look.colour(index), label=names[index], **style)
        if not np.isnan(errors[index][rated]).all():
            axes.errorbar(
                at, shown[index][rated], errors[index][rated], fmt="none", ecolor="black", elinewidth=0.6, capsize=1.5
            )
    axes.set_xticks(range(len(rated)), [list(CATEGORIES)[place] for place in rated])
    axes.set_ylabel("M-H")
    figure.suptitle(title)
    missing = [f"{name}: {reason}" for name, reason in zip(names, arrays["reasons"], strict=True) if reason]
    if known.any():
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    if missing:
        text = f"Without values: {', '.join(name.split(':')[0] for name in missing)} ({missing[0].partition(': ')[2]})"
        lower.supxlabel(text, fontsize=look.font_size - 1, color=MUTED)
    return figure
