"""Table 10: what the parts added to InfoNCE do to the agreement with humans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.methods import COLUMNS, Cells, build_methods, frozen_place, measure_benchmarks
from nearid.paper.metrics import Cell, Metrics, subtract
from nearid.paper.run import find_scorer
from nearid.paper.table import Column, Table

_ABSENT = "the reference itself, or not trained"
_DELTA = Column("d_m_h", "to InfoNCE", "DreamBench++", "m_h", 3, "d_m_h", signed=True, competes=False)


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """InfoNCE with distractors and oracle, and M-H against plain InfoNCE's (paper table 10)."""
    reference = find_scorer(run, "infonce")

    def measure(scorer: Scorer) -> Cells:
        cells = measure_benchmarks(run, metrics, scorer)
        return cells | {"d_m_h": _difference(scorer, cells["m_h"])}

    def _difference(scorer: Scorer, ours: Cell) -> Cell:
        if scorer.paper_row in ("siglip2", "infonce"):
            return Cell(reason=_ABSENT)
        theirs = metrics[reference.id].m_h() if reference else Cell(reason="no scorer stands for infonce")
        if ours.value is None or theirs.value is None:
            return Cell(reason=ours.reason or theirs.reason)
        return subtract(ours, theirs)

    table = build_methods(
        "table10",
        "Parts of InfoNCE",
        "Objective",
        run,
        metrics,
        columns=[*(column for column in COLUMNS if not column.id.startswith("mtg_")), _DELTA],
        place=frozen_place,
        measure=measure,
    )
    # Differences to two different rows, side by side, would be misread.
    return replace(table, baseline=None)
