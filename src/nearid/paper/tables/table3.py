"""Table 3: training objectives, a row per objective."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run
from nearid.paper.methods import build_methods, frozen_place
from nearid.paper.metrics import Metrics
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """Frozen trunk and trained heads under each objective (paper table 3)."""
    title = "Training objectives on the same frozen trunk and data"
    return build_methods("table3", title, "Objective", run, metrics, place=frozen_place)
