"""Figure 1: an object, its distractor on the same background, and which scorers are fooled; our own drawing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays, figure7

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

ANCHOR, VIEW, DISTRACTOR = 0, 1, 1 + figure7.POSITIVES
NAMES = ("anchor", "same object,\nother background", "other object,\nsame background")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Of the test identities drawn by the seed, the one that best shows what the last scorer sees and the others miss.

    Args:
        settings: of `compute_figure`; the first source's distractor is shown.
        layout: of the results folder.

    Returns:
        `images` [3, size, size, 3] (anchor, another view, the distractor in the anchor), `similarities`
        [scorers, 2] of the latter two to the anchor, `scorers`: their names, `id`, `name` of the identity.
    """
    arrays = figure7.compute(settings, layout)
    shown = [ANCHOR, VIEW, DISTRACTOR]
    values = arrays["similarities"][:, shown[1:]].transpose(0, 2, 1)
    margins = values[..., 0] - values[..., 1]
    # The last scorer's margin above the best of the others': largest where they are fooled and it is not.
    contrast = margins[:, -1] - (margins[:, :-1].max(1) if margins.shape[1] > 1 else 0)
    whole = arrays["present"][:, shown].all(1) & ~np.isnan(contrast)
    row = int(np.argmax(np.where(whole, contrast, -np.inf)))
    return {
        "images": arrays["images"][row, shown],
        "similarities": values[row],
        "scorers": arrays["scorers"],
        "id": arrays["ids"][row],
        "name": arrays["rows"][row],
    }


def plot(arrays: Arrays, look: Look) -> Figure:
    """Three pictures; to their right a panel per scorer with the similarities to the anchor."""
    figure = look.canvas(height_in=0.3 * look.width_in)
    count = len(arrays["scorers"])
    panels = figure.subplots(1, 3 + count, width_ratios=[1.1] * 3 + [0.9] * count)
    for axes, image, name in zip(panels, arrays["images"], NAMES, strict=False):
        axes.imshow(image, interpolation="lanczos")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(name, fontsize=look.font_size)
    for axes, scorer, pair in zip(panels[3:], arrays["scorers"], arrays["similarities"], strict=True):
        _bars(axes, str(scorer), pair, look)
    panels[0].set_xlabel(str(arrays["name"]), fontsize=look.font_size - 1)
    return figure


def _bars(axes: Axes, scorer: str, pair: Sequence[float], look: Look) -> None:
    """Similarity of the other view and of the distractor to the anchor."""
    from nearid.paper.style import WARNING

    axes.bar((0, 1), pair, width=0.6, color=(look.colour(0), look.colour(1)))
    axes.set(xticks=(0, 1), xticklabels=("same\nobject", "other\nobject"), ylim=(0, 1.18), yticks=(), title=scorer)
    axes.spines["left"].set_visible(False)
    axes.tick_params("x", length=0)
    for x, value in enumerate(pair):
        axes.text(x, max(value, 0) + 0.02, f"{value:.2f}", ha="center", va="bottom", fontsize=look.font_size - 1)
    fooled = not pair[0] > pair[1]
    said, colour = ("fooled ✗", WARNING) if fooled else ("not fooled ✓", look.colour(2))
    axes.text(0.5, 1.16, said, ha="center", va="top", color=colour, fontsize=look.font_size)
