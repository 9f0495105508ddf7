"""Table 1: the main results, a row per scorer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nearid.config.settings.paper import Run
from nearid.paper.methods import build_methods
from nearid.paper.metrics import Metrics
from nearid.paper.run import find_scorer
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """Near-identity discrimination and alignment of every scorer (paper table 1)."""
    title = "Near-identity discrimination and alignment with edits and humans"
    table = build_methods("table1", title, "Method", run, metrics)
    nearid = find_scorer(run, "nearid")
    note = "Best value bold, second underlined, third slanted; in brackets the difference to the frozen trunk."
    return replace(table, podium=3, deltas=(nearid.id,) if nearid else (), notes=(*table.notes, note))
