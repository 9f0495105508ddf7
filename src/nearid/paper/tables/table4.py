"""Table 4: what each objective is made of: formulas by its name, numbers from the objective that ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nearid.config.settings.paper import Run
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.table import Column, Row, Table

WEIGHT = "weight"
_NONE = "-"
_LABELS = ("L_disc", "L_rank", "Distractors", "Margin", "Oracle")
_RANK = "sp(LSE(N) - l(x,z))"
_ORACLE = "sp(l(x,z') - l(x,z) + m), z edited less than z'"


@dataclass(frozen=True)
class Formula:
    """An objective in the terms of the paper's table.

    Attributes:
        discrimination: the formula of its first part.
        ranking: that of its second, if it has one.
        distractors: where they enter: D, the denominators; S, terms of their own; R, the ranking.
        ranking_term: the name of the second part's weight.
        margin: the name of its margin.
    """

    discrimination: str
    ranking: str = _NONE
    distractors: str = _NONE
    ranking_term: str = ""
    margin: str = ""


# By module of nearid.heads.objectives, whose docstrings have them in full; tests compare the two.
FORMULAS = {
    "infonce": Formula("(LSE(W) - l(x,w) + LSE(X) - l(w,x)) / 2"),
    "infonce_distractors": Formula("(LSE(W,Z) - l(x,w) + LSE(X,Z) - l(w,x)) / 2", distractors="D"),
    "infonce_oracle": Formula("(LSE(W) - l(x,w) + LSE(X) - l(w,x)) / 2", _ORACLE, "R", "oracle", "oracle_margin"),
    "infonce_distractors_oracle": Formula(
        "(LSE(W,Z) - l(x,w) + LSE(X,Z) - l(w,x)) / 2", _ORACLE, "D, R", "oracle", "oracle_margin"
    ),
    "siglip_rank": Formula("BCE(l(x,y) + b; own or not) + BCE(l(x,z) + b; 0)", _RANK, "S, R", "ranking"),
    "circle_rank": Formula(
        "sp(LSE(-g [1+m-c(x,y)]+ (c(x,y)-1+m)) + LSE(g [c(x,n)+m]+ (c(x,n)-m))), n in N, Z",
        "[max l(x,N) - l(x,z) + m]+",
        "D, R",
        "hinge",
        "margin",
    ),
    "nearid": Formula("LSE(Y,Z) - l(x,y)", _RANK, "D, R", "ranking"),
}


def describe(objective: str, params: Mapping[str, Any]) -> dict[str, str]:
    """The paper's five columns for an objective with its parameters."""
    from nearid.heads.objectives import create

    formula = FORMULAS.get(objective)
    if formula is None:
        return dict.fromkeys(_LABELS, "") | {"L_disc": f"see nearid.heads.objectives.{objective}"}
    made = create(objective, **params)
    ranked = bool(made.weights().get(formula.ranking_term))
    used = [use for use in formula.distractors.split(", ") if use != "R" or ranked]
    margin = formula.margin and (ranked or formula.margin == "margin")
    return {
        "L_disc": formula.discrimination,
        "L_rank": formula.ranking if ranked else _NONE,
        "Distractors": ", ".join(used) or _NONE,
        "Margin": f"{getattr(made, formula.margin):g}" if margin else _NONE,
        "Oracle": "yes" if made.reads_severity and ranked else _NONE,
    }


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """The formulas and the weight of each term in the loss of every trained head (paper table 4)."""
    from nearid.heads.objectives import create

    trained = [(scorer, scorer.training) for scorer in run.scorers if scorer.training]
    weights = {scorer.id: create(own.objective, **own.params).weights() for scorer, own in trained}
    terms = dict.fromkeys(term for own in weights.values() for term in own)
    absent = Cell(reason="no term of this objective")
    rows = [
        Row(
            scorer.id,
            scorer.display,
            {term: Cell(weights[scorer.id][term]) if term in weights[scorer.id] else absent for term in terms},
            scorer.paper_row,
            describe(own.objective, own.params),
        )
        for scorer, own in trained
    ]
    return Table(
        "table4",
        "What the objectives are made of",
        "Objective",
        tuple(Column(term, term, "Weight of the term", WEIGHT, 2, term) for term in terms),
        tuple(rows),
        best_along=None,
        labels=_LABELS,
        notes=(
            "x: anchor; y: a positive of its own, w: the one that is picked; z: a distractor of its own. X, Y, W: all "
            "of the batch; N: Y without its own; Z: its own distractors. c: cosine; l: cosine over temperature; "
            "LSE: log of the sum of exp, of l to all in the brackets; sp: softplus; [ ]+: no less than 0; m: margin.",
            "Distractors: D in the denominators, S in a term of their own, R in the ranking. "
            "Formulas in full are in the docstrings of nearid.heads.objectives.",
        ),
    )
