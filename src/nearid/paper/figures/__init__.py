"""The paper's figures, one module per figure.

`compute(settings, layout) -> arrays` collects what a figure shows from the results, kept in one `.npz` file;
`plot(arrays, look) -> Figure` draws it and computes nothing; animated figures have `animate(arrays, look) -> frames`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearid.config.settings.paper import ComputeFigure, PlotFigure
from nearid.errors import UserError
from nearid.io.files import replacing
from nearid.layout import Layout

Arrays = dict[str, NDArray[Any]]


def compute_figure(settings: ComputeFigure, layout: Layout) -> None:
    """Write the data of a figure (settings of `compute_figure`)."""
    name = settings.figure
    arrays = import_module(f"nearid.paper.figures.{name}").compute(settings, layout)
    with replacing(layout.figure_data(name)) as private, open(private, "wb") as stream:  # noqa: PTH123
        np.savez_compressed(stream, **arrays)


def plot_figure(settings: PlotFigure, layout: Layout) -> None:
    """Draw a figure from its data (settings of `plot_figure`)."""
    from nearid.paper.style import Look, save_animation, save_figure

    name, look = settings.figure, Look.of(settings.style)
    module = import_module(f"nearid.paper.figures.{name}")
    arrays = read_arrays(layout, name)
    with look.applied():
        save_figure(module.plot(arrays, look), name, layout, look)
        frames = module.animate(arrays, look) if hasattr(module, "animate") else []
        if frames:
            save_animation(frames, name, layout, look.frame_ms)


def read_arrays(layout: Layout, name: str) -> Arrays:
    """The data of a figure.

    Raises:
        UserError: they were not computed yet.
    """
    path = layout.figure_data(name)
    if not path.is_file():
        raise UserError(path, "no such file", "the figure's data", f"run `nearid paper figure-data --figure {name}`")
    with np.load(path) as content:
        return dict(content)
