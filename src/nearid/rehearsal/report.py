"""The report of a rehearsal: jobs, time and memory per rule, rules that did not run, empty cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from nearid.config import step_settings
from nearid.config.settings.paper import MakeTable
from nearid.config.types import Config
from nearid.layout import Layout
from nearid.paper.tables import build_table, in_order


@dataclass(frozen=True)
class EmptyCells:
    """Cells of one table that are empty for one reason: all `columns` of all `rows`."""

    table: str
    reason: str
    columns: list[str]
    rows: list[str]


@dataclass
class Report:
    """The outcome of a rehearsal.

    Attributes:
        name: of the run.
        seconds: wall time of this start; nothing is done twice, so a repeated start takes little.
        rules: `{stage, rule, jobs, seconds, cpu_seconds, peak_mb}` of what has run in this folder.
        idle: rules of the config with files that are missing or out of date, and how many.
        empty: cells of the tables without a value.
        faults: whatever else is wrong, in words.
    """

    name: str
    seconds: float
    rules: list[dict[str, Any]] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    empty: list[EmptyCells] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every rule ran, no cell is empty without a reason, and nothing else is wrong."""
        return not self.idle and not self.faults and all(cells.reason for cells in self.empty)

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self) | {"passed": self.passed}

    def __str__(self) -> str:
        lines = [f"{'rule':<28}{'jobs':>6}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}"]
        for rule in self.rules:
            lines.append(
                f"{rule['rule']:<28}{rule['jobs']:>6}{rule['seconds']:>9.1f}{rule['cpu_seconds']:>9.1f}"
                f"{rule['peak_mb']:>9}"
            )
        sums = {key: sum(rule[key] for rule in self.rules) for key in ("jobs", "seconds", "cpu_seconds")}
        lines.append(f"{'all':<28}{sums['jobs']:>6}{sums['seconds']:>9.1f}{sums['cpu_seconds']:>9.1f}")
        lines += ["", f"This start took {self.seconds:.0f} s.", ""]
        lines.append(f"Empty cells: {sum(len(cells.rows) * len(cells.columns) for cells in self.empty)}")
        for cells in self.empty:
            lines.append(f"  {cells.table}: {cells.reason or 'NO REASON'}")
            lines.append(f"    {', '.join(cells.columns)} of {', '.join(cells.rows)}")
        lines += [f"not run, or not up to date: {rule}" for rule in self.idle]
        lines += [f"fault: {fault}" for fault in self.faults]
        lines.append("The rehearsal passed." if self.passed else "The rehearsal did not pass.")
        return "\n".join(lines)


def find_empty_cells(config: Config, layout: Layout) -> list[EmptyCells]:
    """Cells without a value in the selected tables, grouped by reason and rows."""
    found: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for name in in_order(config["select"]["tables"]):
        table = build_table(MakeTable.parse(step_settings("make_table", config, table=name)), layout)
        for column in table.columns:
            rows: dict[str, list[str]] = {}
            for row in table.rows:
                cell = row.cells[column.id]
                if cell.value is None:
                    rows.setdefault(cell.reason, []).append(row.display)
            for reason, names in rows.items():
                heading = f"{column.spanner} {column.display}".strip()
                found.setdefault((name, reason, tuple(names)), []).append(heading)
    return [EmptyCells(table, reason, columns, list(rows)) for (table, reason, rows), columns in found.items()]


def find_idle_rules(summary: str) -> list[str]:
    """Rules in Snakemake's `--summary` whose files are missing or out of date, with how many of them."""
    header, *rows = (line.split("\t") for line in summary.splitlines() if "\t" in line)
    at = {name: header.index(name) for name in ("rule", "status", "plan")}
    waiting = Counter(row[at["rule"]] for row in rows if row[at["plan"]] != "no update")
    return [f"{rule} ({count} files)" for rule, count in sorted(waiting.items())]
