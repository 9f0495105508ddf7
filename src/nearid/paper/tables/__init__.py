"""The paper's tables, one module per table: `build(run, metrics) -> Table`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nearid.layout import Layout
from nearid.paper.metrics import read_metrics
from nearid.paper.run import Run
from nearid.paper.table import Table


def build_table(settings: Mapping[str, Any], layout: Layout) -> Table:
    """The table that a `make_table` step's settings ask for, from the metrics of its scorers."""
    run = Run.from_settings(settings["run"])
    metrics = read_metrics(layout, run.needed_metrics())
    return import_module(f"nearid.paper.tables.{settings['table']}").build(run, metrics)
