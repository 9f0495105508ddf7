"""Reading similarities for figures: which scorers have those of a benchmark, and columns of one condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from nearid.config.settings.paper import Run, Scorer
from nearid.errors import UserError
from nearid.io.tables import read_table
from nearid.layout import Layout


def find_scored(run: Run, layout: Layout, benchmark: str) -> tuple[list[Scorer], list[str]]:
    """Scorers with similarities of `benchmark`, and the names of those without, which a figure has to list.

    Raises:
        UserError: no scorer has any.
    """
    scored = [scorer for scorer in run.scorers if layout.scores(scorer.id, benchmark).is_file()]
    if not scored:
        raise UserError(layout.root / "scores", f"no scores of {benchmark}", "one scorer's at least", "score some")
    return scored, [scorer.display for scorer in run.scorers if scorer not in scored]


def read_columns(
    layout: Layout, scorer: str, benchmark: str, condition: str, names: Sequence[str]
) -> dict[str, NDArray[np.generic]]:
    """Columns `names` of a scorer's similarities under `condition`, in the file's order."""
    table = read_table(layout.scores(scorer, benchmark), [*dict.fromkeys([*names, "condition"])])
    table = table.filter(pc.field("condition") == condition)
    return {name: table[name].to_numpy() for name in names}
