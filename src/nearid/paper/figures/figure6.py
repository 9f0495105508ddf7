"""Figure 6: what pulls and pushes in three ways of training; our own drawing, without numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

RADIUS = 0.37
PARADIGMS = (
    ("SimCLR", "two crops of one image attract;\nevery other image repels"),
    ("StableRep", "images painted from one caption\nattract; other captions repel"),
    ("NearID", "views of one object attract; its\ndistractors repel, others more"),
)


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Nothing: the drawing shows no result."""
    return {"paradigms": np.array([name for name, _ in PARADIGMS])}


def plot(arrays: Arrays, look: Look) -> Figure:
    """A panel per paradigm: circles are images in the space of embeddings, arrows forces on them."""
    figure = look.canvas(height_in=0.38 * look.width_in)
    for index, (axes, (name, text)) in enumerate(zip(figure.subplots(1, len(PARADIGMS)), PARADIGMS, strict=True)):
        axes.set(xlim=(-1.6, 1.6), ylim=(-1.95, 1.15), aspect="equal", title=name)
        axes.set_axis_off()
        _draw(axes, index, look)
        axes.text(0, -1.5, text, ha="center", va="top")
    return figure


def _draw(axes: Axes, index: int, look: Look) -> None:
    own, near, far = look.colour(0), look.colour(1), "#666666"
    anchor, positive = (-0.6, 0.75), (0.6, 0.75)
    names = (("crop 1", "crop 2"), ("image 1", "image 2"), ("view 1", "view 2"))[index]
    _arrow(axes, anchor, positive, own, "<->")
    for place, name in zip((anchor, positive), names, strict=True):
        _dot(axes, place, name, own)
    for place, start in (((-1.2, -1.0), (-0.75, 0.75)), ((0.0, -1.0), (0.0, 0.75)), ((1.2, -1.0), (0.75, 0.75))):
        _dot(axes, place, "other", far)
        _arrow(axes, start, place, far, "->")
    if index == 2:
        for x, place in ((-0.5, anchor), (0.5, positive)):
            _dot(axes, (x, -0.2), "distractor", near)
            _arrow(axes, place, (x, -0.2), near, "->")


def _dot(axes: Axes, place: tuple[float, float], name: str, colour: str) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle

    axes.add_patch(Circle(place, RADIUS, facecolor="white", edgecolor="none", zorder=2))
    axes.add_patch(Circle(place, RADIUS, facecolor=(*to_rgb(colour), 0.2), edgecolor=colour, zorder=3))
    axes.annotate(name, place, ha="center", va="center", fontsize=6, zorder=4)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str) -> None:
    """From rim to rim, so that no head is hidden."""
    (x, y), (u, v) = start, end
    length = float(np.hypot(u - x, v - y))
    dx, dy = 1.08 * RADIUS * (u - x) / length, 1.08 * RADIUS * (v - y) / length
    shape = {"arrowstyle": style, "color": colour, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (u - dx, v - dy), (x + dx, y + dy), arrowprops=shape, zorder=1)
