"""The paper's tables, one module per table: `build(run, metrics) -> Table`; and the numbers of figure 4, to compare.

`data`, the data set, has `build_from_data(run, layout)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from importlib import import_module

from nearid.config.settings.paper import MakeTable
from nearid.layout import Layout
from nearid.paper.metrics import read_metrics
from nearid.paper.run import list_measured
from nearid.paper.table import Table

SIMULATED = (
    "No person rated these pictures: simulated raters give whole scores of 0 to 4 by the share of the object that was "
    "really changed, and by chance. The methods' names are DreamBench++'s, their pictures are rendered here."
)
"""Note for every table that shows simulated raters."""


def build_table(settings: MakeTable, layout: Layout) -> Table:
    """The table that a `make_table` step's settings ask for, from the metrics of its scorers or from the data."""
    run = settings.run
    module = import_module(f"nearid.paper.tables.{settings.table}")
    if hasattr(module, "build_from_data"):
        table: Table = module.build_from_data(run, layout)
    else:
        table = module.build(run, read_metrics(layout, list_measured(run)))
    return _name_raters(table) if run.simulated_raters else table


def _name_raters(table: Table) -> Table:
    """The table with agreement named as that with simulated raters, and a note on what these are."""
    if not any(column.metric == "m_h" for column in table.columns):
        return table
    columns = [replace(one, spanner=one.spanner.replace("DreamBench++", "Simulated raters")) for one in table.columns]
    title = table.title.replace("humans on DreamBench++", "simulated raters")
    return replace(table, title=title, columns=tuple(columns), notes=(*table.notes, SIMULATED))


def in_order(names: Iterable[str]) -> list[str]:
    """Table names in the paper's order, table2 before table10, followed by the data set and a figure's numbers."""

    def place(name: str) -> tuple[bool, list[int | str]]:
        counted = [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
        return not name.startswith("table"), counted

    return sorted(names, key=place)
