"""Figure 10: the prompt of the vision-language judge, verbatim from the code that sends it."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from nearid.config.settings.paper import ComputeFigure
from nearid.layout import Layout
from nearid.paper.figures import Arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

COLUMNS = 100


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """`prompt`: the text, our own with the paper's structure, or that of the file named by the settings' `prompt`."""
    from nearid.scores.judging.prompt import choose_prompt

    return {"prompt": np.array(choose_prompt(settings.prompt).template)}


def plot(arrays: Arrays, look: Look) -> Figure:
    """The prompt in a box."""
    lines = [fill(line, COLUMNS, subsequent_indent="   ") for line in str(arrays["prompt"]).splitlines()]
    text = "\n".join(lines)
    height_in = 0.5 + (text.count("\n") + 1) * 1.35 * look.font_size / 72
    figure = look.canvas(height_in, layout=None)
    box = {"boxstyle": "round,pad=0.8", "facecolor": "#f5f6f7", "edgecolor": "#999999", "linewidth": 0.6}
    style: dict[str, Any] = {"ha": "center", "va": "center", "family": "monospace", "linespacing": 1.3, "bbox": box}
    figure.text(0.5, 0.5, text, multialignment="left", **style)
    return figure
