"""The numbers of figure 4: agreement with humans per category, a row per scorer of the paper's figure."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.reference import METHODS, published_rows
from nearid.paper.run import explain_absence
from nearid.paper.table import Column, Row, Table

# The paper's name of a category -> DreamBench++'s.
CATEGORIES = {
    "animal": "live_subject_animal",
    "object": "object",
    "human": "live_subject_human",
    "style": "style",
}
_PAPER_ROWS = {
    "siglip2_mean": "siglip2",
    "siglip2_mean_rated": "siglip2",
    "dino": "dinov2",
    "gpt4o": "gpt4o",
    "clip_i": "clip_i",
}
_NAMES = METHODS | {"gpt4o": "GPT-4o", "clip_i": "CLIP-I"}


def paper_row_of(scorer: Scorer) -> str | None:
    """A scorer's row in the paper's figure, where SigLIP2 is the mean of its tokens, DINOv2 the released ratings."""
    return _PAPER_ROWS.get(scorer.id, scorer.paper_row)


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """M-H per category of all scorers in the paper's figure."""
    # Two scorers may represent the paper's row of SigLIP2: one that is named in `_PAPER_ROWS` takes precedence.
    standing = {
        paper_row_of(scorer): scorer for scorer in sorted(run.scorers, key=lambda scorer: scorer.id in _PAPER_ROWS)
    }
    rows = [
        Row(scorer.id, scorer.display, _measure(metrics[scorer.id]), paper_row)
        if (scorer := standing.get(paper_row))
        else Row(paper_row, _NAMES[paper_row], _gap(run, paper_row), paper_row)
        for paper_row in published_rows("figure4")
    ]
    return Table(
        "figure4",
        "Agreement with humans per category (the numbers of figure 4)",
        "Method",
        tuple(Column(name, name, "M-H", "m_h", 3, name) for name in CATEGORIES),
        tuple(rows),
        best_along="column",
        notes=("Fisher-z mean of the correlations over the generation methods of DreamBench++.",),
    )


def _gap(run: Run, paper_row: str) -> dict[str, Cell]:
    reason = explain_absence(run, lambda scorer: paper_row_of(scorer) == paper_row)
    return dict.fromkeys(CATEGORIES, Cell(reason=reason))


def _measure(metrics: Metrics) -> dict[str, Cell]:
    return {name: metrics.alignment(None, category=category)[0] for name, category in CATEGORIES.items()}
