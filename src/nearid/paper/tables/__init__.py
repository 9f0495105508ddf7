"""The paper's tables, one module per table: `build(run, metrics) -> Table`; and the numbers of figure 4, to compare.

`data`, the data set, has `build_from_data(run, layout)`.
"""

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
    """The table that a `make_table` step's settings ask for, from the metrics of its scorers or from the data."""
    run = Run.from_settings(settings["run"])
    module = import_module(f"nearid.paper.tables.{settings['table']}")
    if hasattr(module, "build_from_data"):
        table: Table = module.build_from_data(run, layout)
    else:
        table = module.build(run, read_metrics(layout, run.needed_metrics()))
    return table


def in_order(names: Iterable[str]) -> list[str]:
    """Table names as the paper counts, table2 before table10; behind them the data set, and a figure's numbers."""

    def place(name: str) -> tuple[bool, list[int | str]]:
        counted = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        return not name.startswith("table"), counted

    return sorted(names, key=place)
