"""Training curves: loss and its terms, per head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nearid.config.settings.paper import ComputeFigure
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.paper.figures import Arrays

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nearid.paper.style import Look

# What log.jsonl holds besides the terms of the objective and mean cosines.
_OTHERS = {
    "step",
    "loss",
    "learning_rate",
    "gradient_norm",
    "wait_s",
    "step_s",
    "tokens_per_s",
    "val_ssr",
    "val_margin",
}
_COSINES = ("cosine_positive", "cosine_distractor", "cosine_other")
_TIERS = ("same object", "distractor", "another object")
_LINES = ("-", "--", ":")


def compute(settings: ComputeFigure, layout: Layout) -> Arrays:
    """Logs of the heads.

    Returns:
        per head `<n>`: `steps_<n>` [steps], `values_<n>` [steps, curves], `curves_<n>`: names, `loss` first;
        `cosines_<n>` [steps, 3]: mean cosine of positives, distractors and others (NaN: not logged); `heads`: names.

    Raises:
        UserError: a log is missing or empty.
    """
    arrays: Arrays = {"heads": np.array([head.display for head in settings.ablations])}
    for index, head in enumerate(settings.ablations):
        lines = _read_log(layout.head_file(head.id, "log.jsonl"))
        terms = [key for key in lines[0] if key not in {*_OTHERS, *_COSINES}]
        names = ["loss", *terms]
        arrays[f"steps_{index}"] = np.array([line["step"] for line in lines])
        arrays[f"curves_{index}"] = np.array(names)
        arrays[f"values_{index}"] = np.array([[_number(line.get(name)) for name in names] for line in lines])
        arrays[f"cosines_{index}"] = np.array([[_number(line.get(name)) for name in _COSINES] for line in lines])
    return arrays


def smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean over the last `width` steps, or as many as there are; steps without a value are skipped."""
    known = ~np.isnan(values)
    sums = np.cumsum(np.where(known, values, 0.0))
    counts = np.cumsum(known)
    sums[width:] = sums[width:] - sums[:-width]
    counts[width:] = counts[width:] - counts[:-width]
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)


def plot(arrays: Arrays, look: Look) -> Figure:
    """Per head: loss (faint its steps, strong running means) with its unweighted terms, and below the mean cosines."""
    heads = arrays["heads"]
    across = min(len(heads), 3)
    down = -(-len(heads) // across)
    figure = look.canvas(height_in=3.4 * down + 0.3)
    panels = figure.subplots(2 * down, across, squeeze=False, sharex="col", height_ratios=(1.4, 1) * down)
    for index in range(down * across):
        row, column = divmod(index, across)
        upper, lower = panels[2 * row, column], panels[2 * row + 1, column]
        if index >= len(heads):
            upper.set_axis_off()
            lower.set_axis_off()
            continue
        steps, values = arrays[f"steps_{index}"], arrays[f"values_{index}"]
        width = max(1, len(steps) // 50)
        upper.plot(steps, values[:, 0], color="black", alpha=0.18, linewidth=0.5)
        for curve, name in enumerate(arrays[f"curves_{index}"]):
            own = {"color": look.colour(curve - 1), "linewidth": 1.2, "linestyle": _LINES[curve % len(_LINES)]}
            style = own if curve else {"color": "black", "linewidth": 1.6}
            upper.plot(steps, smooth(values[:, curve], width), label=name, **style)
        upper.set(title=heads[index], ylim=(0, None))
        upper.legend(loc="upper right")
        for tier, (name, line) in enumerate(zip(_TIERS, _LINES, strict=True)):
            mean = smooth(arrays[f"cosines_{index}"][:, tier], width)
            lower.plot(steps, mean, color=look.colour(tier), linestyle=line, label=name)
        lower.set(xlabel="step", ylim=(None, 1.02))
        if column == 0:
            upper.set_ylabel("loss")
            lower.set_ylabel("mean cosine")
    handles, labels = panels[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _read_log(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(path, "no such file", "the log of a trained head", "train it")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if not lines:
        raise UserError(path, "an empty log", "a line per step", "train it again")
    return lines


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
