"""Table 7: whole images against foregrounds, a row per scorer."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.paper.methods import Cells, build_methods
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.run import Run, Scorer
from nearid.paper.table import Column, Table

_SPANNERS = {"full": "Full image", "fg": "Foreground", "d": "Foreground - full"}
COLUMNS = tuple(
    Column(id, display, _SPANNERS[part], metric, digits, paper_column=id, signed=part == "d", competes=part != "d")
    for id, display, part, metric, digits in (
        ("full_ssr", "SSR", "full", "ssr", 1),
        ("full_pa", "PA", "full", "pa", 1),
        ("full_m_o", "M-O", "full", "m_o", 3),
        ("fg_ssr", "SSR", "fg", "ssr", 1),
        ("fg_pa", "PA", "fg", "pa", 1),
        ("fg_m_o", "M-O", "fg", "m_o", 3),
        ("d_ssr", "SSR", "d", "ssr", 1),
        ("d_m_o", "M-O", "d", "m_o", 2),
    )
)


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """What a scorer gains when it sees nothing but the object (paper table 7); differences are of unrounded values."""

    def measure(scorer: Scorer) -> Cells:
        cells: Cells = {}
        for condition in ("full", "fg"):
            measured = metrics[scorer.id]
            for metric in ("ssr", "pa"):
                cells[f"{condition}_{metric}"] = measured.rate(metric, run.headline_group, condition=condition)
            cells[f"{condition}_m_o"] = measured.mtg("m_o", condition)
        return cells | {f"d_{metric}": _gain(cells, metric) for metric in ("ssr", "m_o")}

    title = "Whole images against foregrounds"
    return build_methods("table7", title, "Method", run, metrics, columns=COLUMNS, measure=measure)


def _gain(cells: Cells, metric: str) -> Cell:
    full, foreground = cells[f"full_{metric}"], cells[f"fg_{metric}"]
    if full.value is None or foreground.value is None:
        return Cell(reason=full.reason or foreground.reason)
    return Cell(foreground.value - full.value)
