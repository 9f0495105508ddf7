"""A table as data: rows, columns, cells, which values are the best and why cells are empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from nearid.paper.metrics import Cell


@dataclass(frozen=True)
class Column:
    """One column of numbers; `spanner` is the heading that it shares with its neighbours.

    A `signed` column holds differences; one that does not compete has no best value. `scorer` is the id of the scorer
    whose numbers it holds, if rows are not scorers.
    """

    id: str
    display: str
    spanner: str
    metric: str
    digits: int
    paper_column: str | None
    signed: bool = False
    competes: bool = True
    scorer: str | None = None


@dataclass(frozen=True)
class Row:
    """One row; `labels` are its texts besides the name, `opens_block` puts a rule above it.

    `sources` are those that its numbers are from, if not the headline group's.
    """

    id: str
    display: str
    cells: Mapping[str, Cell]
    paper_row: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    opens_block: bool = False
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table in one of the paper's layouts; the higher of two values is the better one in all of them.

    Attributes:
        key: heading of the row names, and (lower case) their column in the CSV.
        labels: headings of the rows' labels.
        best_along: whether values compete within a column, within a row among columns of the same metric, or not; with
            `zero` nothing competes, and each difference is marked whose interval does not contain zero.
        baseline: id of the row that the CSV's differences refer to.
        deltas: ids of the rows that show their difference behind each value.
        podium: how many of the best values are marked.
    """

    name: str
    title: str
    key: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    best_along: Literal["column", "row", "zero"] | None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: str | None = None
    deltas: tuple[str, ...] = ()
    podium: int = 1

    def filled(self) -> Table:
        """The table without rows and columns that have no value at all; a note names them, with the reason.

        A table without any value is unchanged: its marks say why.
        """
        rows = [row for row in self.rows if any(cell.value is not None for cell in row.cells.values())]
        if not rows:
            return self
        columns = [column for column in self.columns if any(row.cells[column.id].value is not None for row in rows)]
        gone: dict[str, list[str]] = {}
        for row in self.rows:
            if row not in rows:
                reason = next(iter(row.cells.values())).reason
                gone.setdefault(reason, []).append(row.display)
        for column in self.columns:
            if column not in columns:
                # Columns under one heading, such as a value and its error, are named once.
                name = column.spanner if self.best_along != "column" and column.spanner else column.display
                names = gone.setdefault(rows[0].cells[column.id].reason, [])
                names += [] if name in names else [name]
        notes = tuple(f"{', '.join(names)}: {reason}." for reason, names in gone.items())
        return replace(self, rows=tuple(rows), columns=tuple(columns), notes=(*self.notes, *notes))

    def shown(self, row: Row, column: Column) -> str | None:
        """A value as printed, None for a gap."""
        value = row.cells[column.id].value
        if value is None:
            return None
        # A difference shows its sign, a zero never does.
        shown = f"{value:{'+' if column.signed else ''}.{column.digits}f}"
        return shown.lstrip("+-") if float(shown) == 0 else shown

    def delta(self, row: Row, column: Column) -> float | None:
        """Difference of a value to the baseline's in the same column."""
        base = next((other for other in self.rows if other.id == self.baseline), None)
        value, start = row.cells[column.id].value, base.cells[column.id].value if base else None
        return None if value is None or start is None or row is base else value - start

    def places(self) -> dict[tuple[str, str], int]:
        """(row id, column id) -> 1, 2 or 3 for the best `podium` values; values that print the same rank the same."""
        if self.best_along is None:
            return {}
        if self.best_along == "zero":
            return {
                (row.id, column.id): 1
                for row in self.rows
                for column in self.columns
                if column.signed and not _holds_zero(row.cells[column.id])
            }
        contests: dict[tuple[str, str], list[tuple[float, tuple[str, str]]]] = {}
        for row in self.rows:
            for column in self.columns:
                shown = self.shown(row, column)
                if shown is not None and column.competes:
                    contest = (column.id, "") if self.best_along == "column" else (row.id, column.metric)
                    contests.setdefault(contest, []).append((float(shown), (row.id, column.id)))
        places: dict[tuple[str, str], int] = {}
        for entries in contests.values():
            ranked = sorted({value for value, _ in entries}, reverse=True)[: self.podium]
            if len(entries) > 1:
                places |= {place: 1 + ranked.index(value) for value, place in entries if value in ranked}
        return places

    def shown_delta(self, row: Row, column: Column) -> str:
        """The difference to the baseline as printed behind a value, for rows named in `deltas`; else empty."""
        delta = self.delta(row, column) if row.id in self.deltas else None
        if delta is None:
            return ""
        shown = f"{delta:+.{column.digits}f}"
        return shown.lstrip("+-") if float(shown) == 0 else shown

    def gap_marks(self) -> dict[str, str]:
        """A letter for each reason why a cell is empty, in order of appearance."""
        reasons = dict.fromkeys(
            row.cells[column.id].reason
            for row in self.rows
            for column in self.columns
            if row.cells[column.id].value is None
        )
        return {reason: chr(ord("a") + index) for index, reason in enumerate(reasons)}

    def spanners(self) -> list[tuple[str, int]]:
        """The shared headings and how many columns each spans."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.spanner:
                spans[-1] = (column.spanner, spans[-1][1] + 1)
            else:
                spans.append((column.spanner, 1))
        return spans


def _holds_zero(difference: Cell) -> bool:
    """Whether an interval contains zero; an unknown one may."""
    return difference.low is None or difference.high is None or difference.low <= 0 <= difference.high
