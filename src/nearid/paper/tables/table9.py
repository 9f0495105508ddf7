"""Table 9: the weight of positive cohesion, a row per beta."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run
from nearid.paper.methods import build_methods, show_swept, swept_place
from nearid.paper.metrics import Metrics
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """The NearID objective at alpha 1 under growing beta (paper table 9)."""
    place, show = swept_place({"alpha": 1.0}, "beta"), show_swept("beta")
    return build_methods(
        "table9", "Weight of positive cohesion at alpha 1", "Beta", run, metrics, place=place, display=show
    )
