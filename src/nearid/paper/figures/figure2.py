"""Figure 2: the method, with figure 1's pictures: what is frozen, what is trained and to what end; our own drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays, figure1

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

_WIDTH, _HEIGHT = 10.0, 4.0
_NAMES = ("anchor", "positive", "distractor")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """What figure 1 shows with these settings; only its pictures are drawn."""
    return figure1.compute(settings, layout)


def plot(arrays: Arrays, look: Look) -> Figure:
    """Pictures, frozen encoder and trained head from left to right, then the space before and after."""
    figure = look.canvas(height_in=_HEIGHT / _WIDTH * look.width_in, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), aspect="equal")
    axes.set_axis_off()
    colours = (look.colour(0), look.colour(0), look.colour(1))
    for index, (image, name, colour) in enumerate(zip(arrays["images"], _NAMES, colours, strict=True)):
        bottom = 2.8 - index * 1.25
        axes.imshow(image, extent=(0.9, 1.95, bottom, bottom + 1.05), interpolation="lanczos")
        axes.text(0.82, bottom + 0.52, name, ha="right", va="center", color=colour)
    _box(axes, (2.5, 1.1), (1.35, 1.9), "frozen\nencoder", "#e6e6e6", "patch tokens")
    _box(axes, (4.35, 1.4), (1.2, 1.3), "pooling\nhead", "#cfe3f1", "trained")
    for start, end in (((2.0, 2.05), (2.45, 2.05)), ((3.9, 2.05), (4.3, 2.05)), ((5.6, 2.05), (6.05, 2.05))):
        _arrow(axes, start, end, "black", "->")
    _space(axes, (7.0, 2.3), look, trained=False)
    _space(axes, (9.05, 2.3), look, trained=True)
    terms = (("disc", "views of one object before all else"), ("rank", "its distractors before other objects"))
    for index, (name, says) in enumerate(terms):
        text = f"$L_{{{name}}}$: {says}"
        axes.text(8.02, 0.75 - 0.35 * index, text, ha="center", color=look.colour(index), parse_math=True)
    # Drawing an image has changed the limits.
    axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
    return figure


def _box(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], text: str, colour: str, below: str
) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch(
        corner, *size, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour, edgecolor="black"
    )
    axes.add_patch(shape)
    middle = corner[0] + size[0] / 2
    axes.text(middle, corner[1] + size[1] / 2, text, ha="center", va="center")
    axes.text(middle, corner[1] - 0.12, below, ha="center", va="top", color="#666666")


def _space(axes: Axes, centre: tuple[float, float], look: Look, trained: bool) -> None:
    """Unit vectors on a circle: before, the distractor lies by the anchor; after, the other view does."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle(centre, 0.85, facecolor="none", edgecolor="#999999", linewidth=0.8))
    positive, distractor = (75, 15) if trained else (15, 75)
    own, near, far = look.colour(0), look.colour(1), "#666666"
    places = {"a": (125, own), "p": (positive, own), "d": (distractor, near), "o": (250, far)}
    points = {}
    for name, (angle, colour) in places.items():
        points[name] = centre[0] + 0.85 * np.cos(np.radians(angle)), centre[1] + 0.85 * np.sin(np.radians(angle))
        axes.plot(*points[name], "o", color=colour, markersize=0.6 * look.font_size, zorder=3)
    axes.text(centre[0], centre[1] + 1.15, "after training" if trained else "frozen", ha="center", va="bottom")
    label = {"a": "anchor", "p": "positive", "d": "distractor", "o": "others"}
    for name, (x, y) in points.items():
        inward = centre[0] + 0.66 * (x - centre[0]), centre[1] + 0.66 * (y - centre[1])
        axes.text(*inward, label[name], ha="center", va="center", fontsize=look.font_size - 2, color=places[name][1])


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": style, "color": colour, "shrinkA": 0, "shrinkB": 0})
