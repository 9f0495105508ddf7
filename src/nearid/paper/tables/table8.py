"""Table 8: the weight of the ranking term, a row per alpha."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run
from nearid.paper.methods import build_methods, show_swept, swept_place
from nearid.paper.metrics import Metrics
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """The NearID objective without cohesion under growing alpha (paper table 8)."""
    place, show = swept_place({"beta": 0.0}, "alpha"), show_swept("alpha")
    return build_methods("table8", "Weight of the ranking term", "Alpha", run, metrics, place=place, display=show)
