"""comparison.csv: every cell of the tables beside the paper's, with a verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nearid.io.files import write_text
from nearid.layout import Layout
from nearid.paper.methods import NOT_RUN
from nearid.paper.reference import TOLERANCES, comparability, published_rows, published_value
from nearid.paper.table import Column, Row, Table
from nearid.paper.tables import build_table, in_order

REPRODUCED, DEVIATES, INCOMPARABLE = "reproduced", "deviates", "not comparable"


@dataclass(frozen=True)
class Pair:
    """One cell; `paper` and `difference` are rounded as the paper prints, `ours` and its 95 % interval are not.

    `tolerance` is half a unit of the paper's last digit, and what half precision alone moved the authors' own value
    (spec data.md 4.2) where that is known. `verdict`: within it, or within our interval, is reproduced; where the two
    may not be compared `why` says so.
    """

    table: str
    row: str
    column: str
    ours: float | None
    low: float | None
    high: float | None
    paper: float | None
    difference: float | None
    tolerance: float | None
    verdict: str
    why: str


def write_comparison(settings: Mapping[str, Any], layout: Layout) -> None:
    """Write paper/comparison.csv for the tables (and numbers of figure 4) of the step's settings."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Pair)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(pair) for pair in compare_tables(settings["tables"], layout))
    write_text(layout.paper("comparison.csv"), buffer.getvalue())


def compare_tables(tables: Mapping[str, Mapping[str, Any]], layout: Layout) -> list[Pair]:
    """All cells of `tables` (id -> make_table's settings), ours and the paper's."""
    return [
        pair
        for settings in (tables[name] for name in in_order(tables))
        for pair in compare_table(build_table(settings, layout), settings["run"]["dataset_kind"])
    ]


def compare_table(table: Table, dataset_kind: str) -> Iterator[Pair]:
    """Our cells in their order, then the paper's cells that we have none for."""
    comparable, why = comparability(dataset_kind)
    met = set()
    for row in table.rows:
        for column in table.columns:
            met.add((row.paper_row, column.paper_column))
            yield _compare(table.name, row, column, comparable, why)
    for paper_row, printed in published_rows(table.name).items():
        for name, theirs in printed.items():
            if (paper_row, name) not in met and isinstance(theirs, float) and name not in _CHOSEN:
                yield Pair(table.name, paper_row, name, None, None, None, theirs, None, None, INCOMPARABLE, NOT_RUN)


# What the paper chose and did not measure.
_CHOSEN = ("alpha", "beta")


def _compare(table: str, row: Row, column: Column, comparable: bool, why: str) -> Pair:
    cell = row.cells[column.id]
    theirs = published_value(table, row.paper_row, column.paper_column)
    tolerance = TOLERANCES.get(column.metric, 0.0) + 0.5 * 10.0**-column.digits
    difference, verdict = None, INCOMPARABLE
    if cell.value is None:
        why = cell.reason
    elif theirs is None:
        why = "not in the paper"
    else:
        difference = round(cell.value - theirs, column.digits)
        if comparable:
            # The slack is for numbers that lie on the edge in decimal and not in binary.
            near = abs(cell.value - theirs) <= tolerance + 1e-9
            inside = cell.low is not None and cell.high is not None and cell.low <= theirs <= cell.high
            verdict = REPRODUCED if near or inside else DEVIATES
    ours = (cell.value, cell.low, cell.high)
    return Pair(table, row.id, column.id, *ours, theirs, difference, round(tolerance, 6), verdict, why)
