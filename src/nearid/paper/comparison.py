"""comparison.csv: every cell of the tables beside the paper's, with a verdict."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields

from nearid.config.settings.paper import CompareWithPaper, MakeTable, Run
from nearid.data.kinds import describe_kind
from nearid.io.files import write_text
from nearid.io.sheets import plain_cell
from nearid.layout import Layout
from nearid.paper.reference import (
    CORRELATIONS,
    TOLERANCES,
    describe_images,
    differing,
    published,
    published_rows,
    published_value,
    same_images,
)
from nearid.paper.run import NOT_RUN
from nearid.paper.table import Column, Row, Table
from nearid.paper.tables import build_table, in_order
from nearid.paper.tables.data import COUNT
from nearid.paper.tables.table4 import WEIGHT
from nearid.paper.verdicts import DEVIATES, INCOMPARABLE, REPRODUCED, Setting, judge


@dataclass(frozen=True)
class ComparedCell:
    """One cell; `paper` and `difference` are rounded as the paper prints, `ours` and its 95 % interval are not.

    `tolerance` is half a unit of the paper's last digit plus, where that is known, by how much half precision alone
    changed the authors' own value. `why` is the reason for the `verdict` (nearid.paper.verdicts).
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


def write_comparison(settings: CompareWithPaper, layout: Layout) -> None:
    """Write paper/comparison.csv for the tables (and numbers of figure 4) of the step's settings."""
    write_text(layout.paper("comparison.csv"), to_csv([*compare_tables(settings.tables, layout), *list_costs()]))


def to_csv(pairs: Iterable[ComparedCell]) -> str:
    """Pairs as CSV, a line each."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(ComparedCell)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: plain_cell(value) if isinstance(value, str) else value for name, value in asdict(pair).items()}
        for pair in pairs
    )
    return buffer.getvalue()


def list_costs() -> list[ComparedCell]:
    """The paper's cost block, without this run's times, which vary and are in a file of their own."""
    why = "a run's own times are beside it in costs.csv"
    empty = (None, None, None)
    return [
        ComparedCell("cost", key, "value", *empty, float(value), None, None, INCOMPARABLE, why)
        for key, value in published()["cost"].items()
        if isinstance(value, int | float)
    ]


def compare_tables(tables: Mapping[str, MakeTable], layout: Layout) -> list[ComparedCell]:
    """All cells of `tables` (id -> make_table's settings), ours and the paper's."""
    return [
        pair
        for settings in (tables[name] for name in in_order(tables))
        for pair in compare_table(build_table(settings, layout), settings.run)
    ]


def compare_table(table: Table, run: Run) -> Iterator[ComparedCell]:
    """Our cells in their order, then the paper's cells that this run does not have."""
    met = set()
    for row in table.rows:
        for column in table.columns:
            met.add((row.paper_row, column.paper_column))
            yield _compare(table, row, column, run)
    for paper_row, printed in published_rows(table.name).items():
        for name, theirs in printed.items():
            if (paper_row, name) not in met and isinstance(theirs, float) and name not in _CHOSEN:
                yield ComparedCell(
                    table.name, paper_row, name, None, None, None, theirs, None, None, INCOMPARABLE, NOT_RUN
                )


# Columns that the paper sets and does not measure.
_CHOSEN = ("alpha", "beta")


def _compare(table: Table, row: Row, column: Column, run: Run) -> ComparedCell:
    cell = row.cells[column.id]
    theirs = published_value(table.name, row.paper_row, column.paper_column)
    tolerance = TOLERANCES.get(column.metric, 0.0) + 0.5 * 10.0**-column.digits
    difference, verdict = None, INCOMPARABLE
    kind = describe_kind(run.dataset_kind)
    comparable, why = kind.comparable, kind.images
    if cell.value is None:
        why = cell.reason
    elif theirs is None:
        why = "not in the paper"
    else:
        difference = round(cell.value - theirs, column.digits) + 0.0  # -0.0 becomes 0.0
        other_words = {scorer.id for scorer in run.scorers if scorer.other_prompt}
        retrained = (column.scorer or row.id) in {scorer.id for scorer in run.scorers if scorer.retrained}
        other = differing(run, column.metric, retrained)
        if comparable and (column.scorer or row.id) in other_words:
            why = "other prompt"
        elif comparable and other:
            why = f"not the paper's: {'; '.join(other)}"
        elif comparable and column.metric in (COUNT, WEIGHT):
            verdict = DEVIATES if difference else REPRODUCED
            why = f"{'another' if difference else 'the same'} {column.metric}"
        elif comparable:
            percent = column.metric not in CORRELATIONS
            verdict, why = judge(cell, theirs, tolerance, percent, _setting(table, row, column, run))
    ours = (cell.value, cell.low, cell.high)
    return ComparedCell(table.name, row.id, column.id, *ours, theirs, difference, round(tolerance, 6), verdict, why)


def _setting(table: Table, row: Row, column: Column, run: Run) -> Setting:
    """What this cell shares with the paper's."""
    retrained = {scorer.id for scorer in run.scorers if scorer.retrained}
    sources = row.sources or run.groups.get(run.headline_group, ())
    same = same_images(run, column.metric, sources)
    images = describe_images(run, column.metric, sources)
    if (column.scorer or row.id) not in retrained:
        return Setting(same, retrained=False, images=images)
    # Heads that represent the same head of the paper differ by their seeds.
    alike = [
        (each, other)
        for each in table.rows
        for other in table.columns
        if (each.paper_row, other.paper_column) == (row.paper_row, column.paper_column)
        and (other.scorer or each.id) in retrained
    ]
    values = [each.cells[other.id].value for each, other in alike]
    return Setting(same, retrained=True, seeds=[value for value in values if value is not None], images=images)
