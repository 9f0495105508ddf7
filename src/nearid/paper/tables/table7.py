"""Table 7: whole images against foregrounds, a row per scorer."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.methods import PRINTED_PA, Cells, build_methods
from nearid.paper.metrics import Metrics
from nearid.paper.table import Column, Table

_SPANNERS = {"full": "Full image", "fg": "Foreground", "d": "Foreground - full"}
COLUMNS = tuple(
    Column(
        f"{part}_{metric}",
        display,
        _SPANNERS[part],
        metric,
        digits,
        # The paper's PA is the one that its table code computes.
        paper_column=None if metric == "pa" else f"{part}_{metric.removesuffix('_table')}",
        signed=part == "d",
        competes=part != "d",
    )
    for part, metric, display, digits in (
        ("full", "ssr", "SSR", 1),
        ("full", "pa", "PA", 1),
        ("full", "pa_table", PRINTED_PA, 1),
        ("full", "m_o", "M-O", 3),
        ("fg", "ssr", "SSR", 1),
        ("fg", "pa", "PA", 1),
        ("fg", "pa_table", PRINTED_PA, 1),
        ("fg", "m_o", "M-O", 3),
        ("d", "ssr", "SSR", 1),
        ("d", "m_o", "M-O", 2),
    )
)


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """What a scorer gains when it sees nothing but the object (paper table 7); differences are of unrounded values."""

    def measure(scorer: Scorer) -> Cells:
        cells: Cells = {}
        for condition in ("full", "fg"):
            measured = metrics[scorer.id]
            for metric in ("ssr", "pa", "pa_table"):
                cells[f"{condition}_{metric}"] = measured.rate(metric, run.headline_group, condition=condition)
            cells[f"{condition}_m_o"] = measured.mtg("m_o", condition)
        return cells | {f"d_{metric}": metrics[scorer.id].masked(metric) for metric in ("ssr", "m_o")}

    title = "Whole images against foregrounds"
    return build_methods("table7", title, "Method", run, metrics, columns=COLUMNS, measure=measure)
