"""Table 2: agreement with humans on DreamBench++, a row per generation method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.reference import published_rows
from nearid.paper.run import explain_absence
from nearid.paper.table import Column, Row, Table

# Columns of the paper by scorer; `h`, human against human, comes with every scorer's metrics.
_COLUMNS = {"gpt4o": "g", "dino": "d", "clip_i": "c", "siglip2_mean": "s", "siglip2_mean_rated": "s"}
_NAMES = {"h": "Human", "g": "GPT-4o", "d": "DINO", "c": "CLIP-I", "s": "SigLIP2 (mean)", "nearid": "NearID"}
_AVERAGE = "fisher_z_average"


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """Correlation of each scorer with two groups of annotators, object category (paper table 2)."""
    shown: dict[str, tuple[str, str | None]] = {"h": (_NAMES["h"], next(iter(metrics), None))}
    for scorer in run.scorers:
        shown[_column_of(scorer)] = (scorer.display, scorer.id)
    # The paper's order, then our own.
    order = [*_NAMES, *(name for name in shown if name not in _NAMES)]
    shown = {name: shown.get(name, (_NAMES.get(name, name), None)) for name in order}
    rows = []
    for method in published_rows("table2"):
        cells: dict[str, Cell] = {}
        for name, (_, scorer_id) in shown.items():
            why = explain_absence(run, lambda scorer, name=name: _column_of(scorer) == name)  # type: ignore[misc]
            value, error = Cell(reason=why), Cell(reason=why)
            if scorer_id is not None:
                who = "humans" if name == "h" else "categories"
                value, error = metrics[scorer_id].alignment(None if method == _AVERAGE else method, who)
            cells |= {f"{name}_h": value, f"{name}_h_pm": error}
        average = method == _AVERAGE
        display = "Fisher-z average" if average else method
        rows.append(Row(method, display, cells, method, opens_block=average))
    return Table(
        "table2",
        "Agreement with humans on DreamBench++, category object",
        "Generation method",
        tuple(_columns(shown)),
        tuple(rows),
        best_along=None,
        notes=(
            "Mean correlation with the two groups of annotators and half their distance; Human: one group against the "
            "other. Last row: Fisher-z mean over the methods and its standard error over them.",
        ),
    )


def _column_of(scorer: Scorer) -> str:
    """The paper's column of a scorer; NearID's is for the scorer that represents it in the other tables."""
    return "nearid" if scorer.paper_row == "nearid" else _COLUMNS.get(scorer.id, scorer.id)


def _columns(shown: Mapping[str, tuple[str, str | None]]) -> Iterator[Column]:
    for name, (display, scorer) in shown.items():
        printed = name in _NAMES
        yield Column(f"{name}_h", "r", display, "m_h", 3, f"{name}_h" if printed else None, scorer=scorer)
        printed_pm = f"{name}_h_pm" if printed else None
        yield Column(f"{name}_h_pm", "±", display, "m_h_error", 3, printed_pm, scorer=scorer)
