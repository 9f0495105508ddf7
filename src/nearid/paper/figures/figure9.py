"""Figure 9: do similarities to an edited image fall with the size of the edit? Distributions beside the oracle's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.scored import find_scored, read_columns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

_LINES = ("-", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
# Kinds of scorers in the left panel, used as they come; trained heads and judges are in the right one (paper figure 9).
_AS_THEY_COME = ("encoder", "colour_histogram")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Similarities of both originals to their own edits, and the oracle (paper figure 9).

    Returns:
        `scores` [scorers, 2 * samples], `oracle` [2 * samples], `scorers`, `left` [scorers]: in the left panel;
        `absent`: scorers without scores.
    """
    run = settings.run
    scorers, absent = find_scored(run, layout, "mtg")
    scores, oracle = [], np.empty(0)
    for scorer in scorers:
        names = ("s_11e", "s_22e", "oracle_1", "oracle_2")
        columns = read_columns(layout, scorer.id, "mtg", settings.condition, names)
        scores.append(np.concatenate([columns["s_11e"], columns["s_22e"]]))
        oracle = np.concatenate([columns["oracle_1"], columns["oracle_2"]])
    return {
        "scores": np.stack(scores).astype(np.float64),
        "oracle": oracle.astype(np.float64),
        "scorers": np.array([scorer.display for scorer in scorers]),
        "left": np.array([scorer.kind in _AS_THEY_COME for scorer in scorers]),
        "absent": np.array(absent, dtype=str),
    }


def plot(arrays: Arrays, look: Look) -> Figure:
    """Empirical distribution functions; the oracle is the broad grey line that a scorer should follow."""
    figure = look.canvas(height_in=0.45 * look.width_in)
    panels = figure.subplots(1, 2, sharey=True)
    low = min(float(np.nanmin(arrays["scores"])), float(np.nanmin(arrays["oracle"])), 0.0)
    for axes, left, title in zip(panels, (True, False), ("(a) as they come", "(b) trained or asked"), strict=True):
        axes.ecdf(arrays["oracle"], color="0.7", linewidth=3, label="oracle")
        for place, index in enumerate(np.flatnonzero(arrays["left"] == left)):
            values, line = arrays["scores"][index], _LINES[place % len(_LINES)]
            values = values[~np.isnan(values)]
            axes.ecdf(values, color=look.colour(index), linestyle=line, label=arrays["scorers"][index])
        axes.set(title=title, xlabel="similarity of an original to its edit", xlim=(low - 0.02, 1.02))
        axes.legend(loc="upper left")
    panels[0].set_ylabel("share of edits below")
    if len(arrays["absent"]):
        figure.supxlabel(f"Without scores: {', '.join(arrays['absent'])}", fontsize=look.font_size - 1)
    return figure
