"""Table 1: the main results, a row per scorer."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.paper.methods import build_methods
from nearid.paper.metrics import Metrics
from nearid.paper.run import Run
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """Near-identity discrimination and alignment of every scorer (paper table 1)."""
    title = "Near-identity discrimination and alignment with edits and humans"
    return build_methods("table1", title, "Method", run, metrics)
