"""Table 4: what each objective is made of, from the objectives themselves."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.paper.metrics import Cell, Metrics
from nearid.paper.run import Run
from nearid.paper.table import Column, Row, Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """The weight of each term in the loss of every trained head (paper table 4); nothing is written down twice."""
    from nearid.heads.objectives import create

    trained = [scorer for scorer in run.scorers if scorer.training]
    weights = {
        scorer.id: create(scorer.training.objective, **scorer.training.params).weights()
        for scorer in trained
        if scorer.training
    }
    terms = dict.fromkeys(term for own in weights.values() for term in own)
    absent = Cell(reason="no term of this objective")
    rows = [
        Row(
            scorer.id,
            scorer.display,
            {term: Cell(weights[scorer.id][term]) if term in weights[scorer.id] else absent for term in terms},
            labels={"Module": scorer.training.objective if scorer.training else ""},
        )
        for scorer in trained
    ]
    return Table(
        "table4",
        "Terms of the objectives and their weights",
        "Objective",
        tuple(Column(term, term, "Weight of the term", "weight", 2, None) for term in terms),
        tuple(rows),
        best_along=None,
        labels=("Module",),
        notes=("Formulas are in the docstrings of nearid.heads.objectives.",),
    )
