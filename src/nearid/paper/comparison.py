"""comparison.csv: every cell of the tables beside the paper's, with whether and why the two may be compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nearid.io.files import write_text
from nearid.layout import Layout
from nearid.paper.methods import NOT_RUN
from nearid.paper.reference import TOLERANCES, comparability, published, published_rows, published_value
from nearid.paper.table import Table
from nearid.paper.tables import build_table


@dataclass(frozen=True)
class Pair:
    """One cell; `paper` and `difference` are rounded as the paper prints, `ours` is not.

    `tolerance` is what half precision alone moved the authors' own value (spec data.md 4.2), where it is known.
    """

    table: str
    row: str
    column: str
    ours: float | None
    paper: float | None
    difference: float | None
    tolerance: float | None
    comparable: str
    why: str


def write_comparison(settings: Mapping[str, Any], layout: Layout) -> None:
    """Write paper/comparison.csv for the tables of the step's settings."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Pair)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(pair) for pair in compare_tables(settings["tables"], layout))
    write_text(layout.paper("comparison.csv"), buffer.getvalue())


def compare_tables(tables: Mapping[str, Mapping[str, Any]], layout: Layout) -> list[Pair]:
    """All cells of `tables` (id -> make_table's settings), ours and the paper's."""
    return [
        pair
        for settings in tables.values()
        for pair in compare_table(build_table(settings, layout), settings["run"]["dataset_kind"])
    ]


def compare_table(table: Table, dataset_kind: str) -> Iterator[Pair]:
    """Our cells in their order, then the paper's cells that we have none for."""
    comparable, why = comparability(dataset_kind)
    met = set()
    for row in table.rows:
        for column in table.columns:
            cell = row.cells[column.id]
            theirs = published_value(table.name, row.paper_row, column.paper_column)
            met.add((row.paper_row, column.paper_column))
            reason = cell.reason if cell.value is None else "not in the paper" if theirs is None else why
            difference = None if cell.value is None or theirs is None else round(cell.value - theirs, column.digits)
            yield Pair(
                table=table.name,
                row=row.id,
                column=column.id,
                ours=cell.value,
                paper=theirs,
                difference=difference,
                tolerance=TOLERANCES.get(column.metric),
                comparable="yes" if difference is not None and comparable else "no",
                why=reason,
            )
    columns = [name for name in published()[table.name]["columns"] if name.endswith(_MEASURED)]
    for paper_row in published_rows(table.name):
        for name in columns:
            if (paper_row, name) not in met:
                theirs = published_value(table.name, paper_row, name)
                yield Pair(table.name, paper_row, name, None, theirs, None, None, "no", NOT_RUN)


_MEASURED = ("_ssr", "_pa", "m_o", "m_o_pair", "m_h")
