"""Similarities by tier: same object, its distractor, another object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays
from nearid.paper.scored import find_scored, read_columns
from nearid.scores.margins import SIMILARITIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

TIERS = ("same object", "distractor", "another object")
BINS = 40
_OWN = ("cross_00", "cross_11", "cross_22")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Histograms per scorer and tier over all sources; a distractor is compared with the view it was painted into.

    Returns:
        `counts` [scorers, tiers, bins] as densities, `edges` [bins + 1], `means` [scorers, tiers], `scorers`, `absent`.
        The third tier holds means over the other identities of the split, one per view 0: it shows the spread of means.
    """
    run = settings.run
    scorers, absent = find_scored(run, layout, "nearid_bench")
    tiers = []
    for scorer in scorers:
        names = (*SIMILARITIES, *_OWN, "random", "source")
        columns = read_columns(layout, scorer.id, "nearid_bench", settings.condition, names)
        # Similarities of views, and to other identities, do not depend on the source.
        first = columns["source"] == columns["source"][0]
        tiers.append(
            [
                np.concatenate([columns[name][first] for name in SIMILARITIES]),
                np.concatenate([columns[name] for name in _OWN]),
                columns["random"][first],
            ]
        )
    finite = [[values[~np.isnan(values)] for values in own] for own in tiers]
    low = min(0.0, *(float(values.min()) for own in finite for values in own if len(values)))
    edges = np.linspace(low, 1.0, BINS + 1)
    return {
        "counts": np.array([[_density(values, edges) for values in own] for own in finite]),
        "means": np.array([[values.mean() if len(values) else np.nan for values in own] for own in finite]),
        "edges": edges,
        "scorers": np.array([scorer.display for scorer in scorers]),
        "absent": np.array(absent, dtype=str),
    }


def _density(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].astype(np.float64)
    return counts / max(counts.sum(), 1) / np.diff(edges)


def plot(arrays: Arrays, look: Look) -> Figure:
    """A panel per scorer: three outlines on one axis; a good scorer keeps them apart and in order."""
    names = arrays["scorers"]
    across = min(len(names), 4)
    down = -(-len(names) // across)
    figure = look.canvas(height_in=1.5 * down + 0.5)
    panels = figure.subplots(down, across, sharex=True, squeeze=False).flatten()
    for index, axes in enumerate(panels):
        if index >= len(names):
            axes.set_axis_off()
            continue
        for tier, label in enumerate(TIERS):
            colour = look.colour(tier)
            counts = arrays["counts"][index, tier]
            axes.stairs(counts, arrays["edges"], fill=True, color=colour, alpha=0.3)
            axes.stairs(counts, arrays["edges"], color=colour, label=label, linestyle=("-", "--", ":")[tier])
            axes.axvline(arrays["means"][index, tier], color=colour, linewidth=0.8, linestyle=("-", "--", ":")[tier])
        axes.set(title=names[index], yticks=[])
        axes.spines["left"].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    title = "cosine similarity; upright lines: means"
    figure.legend(handles, labels, loc="outside lower center", ncols=3, title=title, title_fontsize=look.font_size)
    return figure
