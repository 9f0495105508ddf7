"""The paper's tables, one module per table: `build(run, metrics) -> Table`; and the numbers of figure 4, to compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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


def in_order(names: Iterable[str]) -> list[str]:
    """Table names as the paper counts, table2 before table10; a figure's numbers behind them."""

    def place(name: str) -> tuple[bool, list[int | str]]:
        return name.startswith("figure"), [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

    return sorted(names, key=place)
