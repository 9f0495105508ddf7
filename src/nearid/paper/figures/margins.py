"""Margins per source: by how much another view is more similar than the distractor on the same background."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.margins import directed_margins
from nearid.paper.figures import Arrays
from nearid.paper.scored import find_scored, read_columns
from nearid.scores.margins import CROSSES, SIMILARITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """All directed margins (docs/protocol.md 4.1).

    Returns:
        `margins` [scorers, sources, identities, 6] (NaN: no trial), `scorers`, `sources`, `absent`: names.
    """
    run = settings.run
    scorers, absent = find_scored(run, layout, "nearid_bench")
    names = (*SIMILARITIES, *CROSSES, "source")
    margins = []
    for scorer in scorers:
        columns = read_columns(layout, scorer.id, "nearid_bench", settings.condition, names)
        origin = columns.pop("source")
        margins.append(
            [
                directed_margins({key: value[origin == source.id] for key, value in columns.items()})
                for source in run.sources
            ]
        )
    return {
        "margins": np.array(margins),
        "scorers": np.array([scorer.display for scorer in scorers]),
        "sources": np.array([source.display for source in run.sources]),
        "absent": np.array(absent, dtype=str),
    }


def plot(arrays: Arrays, look: Look) -> Figure:
    """A panel per source, a box per scorer: quartiles, 5 to 95 percent, and the share right of zero."""
    from nearid.paper.style import MUTED

    count, scorers = len(arrays["sources"]), arrays["scorers"]
    across = 2 if count in (2, 4) else min(count, 3)
    down = -(-count // across)
    figure = look.canvas(height_in=down * (0.45 + 0.26 * len(scorers)) + 0.3)
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
    for index, axes in enumerate(panels):
        if index >= count:
            axes.set_axis_off()
            continue
        values = [own[~np.isnan(own)] for own in arrays["margins"][:, index]]
        drawn = axes.boxplot(
            values, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.6, patch_artist=True
        )
        for position, (box, median) in enumerate(zip(drawn["boxes"], drawn["medians"], strict=True)):
            box.set(facecolor=look.colour(position), alpha=0.55, linewidth=0.6)
            median.set(color="black")
            wins = 100 * float((values[position] > 0).mean()) if len(values[position]) else float("nan")
            place = (1.0, position + 1)
            axes.annotate(
                f"{wins:.0f} %", place, xycoords=("axes fraction", "data"), ha="right", va="center", color=MUTED
            )
        axes.axvline(0, color="black", linewidth=0.6, linestyle=":")
        axes.set_title(arrays["sources"][index])
        axes.set_yticks(range(1, len(scorers) + 1), scorers)
        axes.margins(x=0.25)
    # The first scorer on top.
    panels[0].invert_yaxis()
    absent = f" Without scores: {', '.join(arrays['absent'])}." if len(arrays["absent"]) else ""
    figure.supxlabel(f"margin (right of zero is right; per cent: share of wins).{absent}", fontsize=look.font_size)
    return figure
