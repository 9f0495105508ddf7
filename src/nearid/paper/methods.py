"""The layout that tables 1 and 3 share: a row per method, all benchmarks in the columns."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.paper.metrics import Cell, Metrics
from nearid.paper.reference import METHODS, published_rows
from nearid.paper.run import Run, Scorer
from nearid.paper.table import Column, Row, Table

_BENCH, _MTG, _HUMAN = "NearID-bench", "MTG", "DreamBench++"
COLUMNS = tuple(
    Column(id, display, spanner, id, digits, paper_column=id)
    for id, display, spanner, digits in (
        ("nearid_ssr", "SSR", _BENCH, 2),
        ("nearid_pa", "PA", _BENCH, 2),
        ("m_o", "M-O", _MTG, 3),
        ("m_o_pair", "M-O pair", _MTG, 3),
        ("mtg_ssr", "SSR", _MTG, 1),
        ("mtg_pa", "PA", _MTG, 1),
        ("m_h", "M-H", _HUMAN, 3),
    )
)
NOT_RUN = "not part of this run"


def build_methods(
    name: str, title: str, key: str, run: Run, metrics: Mapping[str, Metrics], paper_ids: Mapping[str, str]
) -> Table:
    """All rows of the paper's table in its order, those not run as gaps, then the scorers that the paper lacks.

    `paper_ids` gives a scorer's row in this table where it is not its `paper_row`.
    """
    stands_for = {
        scorer.id: paper_ids.get(scorer.paper_row, scorer.paper_row) for scorer in run.scorers if scorer.paper_row
    }
    rows = []
    for paper_row in published_rows(name):
        scorers = [scorer for scorer in run.scorers if stands_for.get(scorer.id) == paper_row]
        rows += [_row(scorer, metrics[scorer.id], run, paper_row) for scorer in scorers]
        if not scorers:
            gaps = {column.id: Cell(reason=NOT_RUN) for column in COLUMNS}
            rows.append(Row(paper_row, METHODS[paper_row], gaps, paper_row))
    own = [scorer for scorer in run.scorers if stands_for.get(scorer.id) not in published_rows(name)]
    for index, scorer in enumerate(own):
        rows.append(_row(scorer, metrics[scorer.id], run, None, opens_block=index == 0))
    notes = (
        f"NearID-bench: test identities, full image, pooled over {run.names_in(run.headline_group)}.",
        "SSR, PA in percent; M-O, M-H are correlations. Intervals and counts are in the CSV file.",
    )
    return Table(name, title, key, COLUMNS, tuple(rows), best_along="column", notes=notes)


def _row(scorer: Scorer, metrics: Metrics, run: Run, paper_row: str | None, opens_block: bool = False) -> Row:
    cells = {
        "nearid_ssr": metrics.rate("ssr", run.headline_group),
        "nearid_pa": metrics.rate("pa", run.headline_group),
        **{metric: metrics.mtg(metric) for metric in ("m_o", "m_o_pair", "mtg_ssr", "mtg_pa")},
        "m_h": metrics.m_h(),
    }
    return Row(scorer.id, scorer.display, cells, paper_row, opens_block=opens_block)
