"""Table of sensitivity: the same head trained with other choices, and by how much each number changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.methods import COLUMNS, measure_benchmarks
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.run import name_sources
from nearid.paper.table import Column, Row, Table

# One PA is enough: nothing is compared with the paper here.
_NUMBERS = tuple(column for column in COLUMNS if column.id != "nearid_pa_table")
_ABSENT = "the choice that the others are compared with"
# Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """A row per choice: means over its seeds, and the mean change to the first choice, paired by seed."""
    heads: dict[str, dict[int, Scorer]] = {}
    for scorer in run.scorers:
        if scorer.choice:
            heads.setdefault(scorer.choice.name, {})[scorer.choice.seed] = scorer
    measured = {scorer.id: measure_benchmarks(run, metrics, scorer) for scorer in run.scorers}
    first = next(iter(heads.values()), {})
    rows = []
    for choice, seeds in heads.items():
        cells = {}
        for column in _NUMBERS:
            values = {seed: measured[scorer.id][column.id] for seed, scorer in seeds.items()}
            cells[column.id] = _average(list(values.values()))
            shared = [seed for seed in seeds if seed in first]
            pairs = [(values[seed], measured[first[seed].id][column.id]) for seed in shared]
            cells[f"d_{column.id}"] = Cell(reason=_ABSENT) if seeds is first else _average_change(pairs)
        display = next(iter(seeds.values())).display.rpartition(" (")[0]
        rows.append(Row(choice, display, cells, labels={"Seeds": str(len(seeds))}))
    columns = [each for column in _NUMBERS for each in (_plain(column), _change(column))]
    return Table(
        "sensitivity",
        "The same head under other choices",
        "Choice",
        tuple(columns),
        tuple(rows),
        best_along="zero",
        labels=("Seeds",),
        notes=(
            f"NearID-bench: test identities, full image, pooled over {name_sources(run, run.headline_group)}.",
            "Means over seeds; changes are to the first row, seed by seed. Bold: its 95 % interval does not hold zero"
            " (Student's t; the CSV file has it), so that the choice moved more than its seeds do. By chance alone one"
            " change in twenty is bold.",
        ),
    )


def _plain(column: Column) -> Column:
    return replace(column, paper_column=None, competes=False)


def _change(column: Column) -> Column:
    return replace(_plain(column), id=f"d_{column.id}", display=f"{column.display} change", signed=True)


def _average(cells: Sequence[Cell]) -> Cell:
    """Mean over seeds; a gap if one of them has no value."""
    known = [cell.value for cell in cells if cell.value is not None]
    if len(known) < len(cells):
        return Cell(reason=next(cell.reason for cell in cells if cell.value is None))
    return Cell(value=fmean(known), count=len(known))


def _average_change(pairs: Sequence[tuple[Cell, Cell]]) -> Cell:
    """Mean difference of the pairs with its 95 % interval, which a single pair does not have."""
    changes = [ours.value - base.value for ours, base in pairs if ours.value is not None and base.value is not None]
    if not changes or len(changes) < len(pairs):
        gaps = [cell.reason for pair in pairs for cell in pair if cell.value is None]
        return Cell(reason=gaps[0] if gaps else "no seed in common with the first choice")
    mean = fmean(changes)
    if len(changes) == 1:
        return Cell(value=mean, count=1)
    half = _T[min(len(changes) - 2, len(_T) - 1)] * stdev(changes) / math.sqrt(len(changes))
    return Cell(value=mean, low=mean - half, high=mean + half, count=len(changes))
