"""Table 6: training data, a row per mixture."""

from __future__ import annotations

from collections.abc import Mapping

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.methods import COLUMNS, build_methods, frozen_place
from nearid.paper.metrics import Metrics
from nearid.paper.reference import published_rows
from nearid.paper.table import Table


def build(run: Run, metrics: Mapping[str, Metrics]) -> Table:
    """The NearID objective on more and on less data (paper table 6)."""
    return build_methods(
        "table6",
        "Training data under the NearID objective",
        "Data",
        run,
        metrics,
        columns=[column for column in COLUMNS if column.id != "m_h"],
        place=frozen_place,
        labels={"Sources": _sources, "MTG": _mtg},
        notes=("Sources: how many distractor sources a head was trained on.",),
    )


def _sources(scorer: Scorer | None, paper_row: str | None) -> str:
    if scorer:
        return str(scorer.training.sources) if scorer.training else ""
    printed = published_rows("table6")[str(paper_row)]["n_sources"]
    return "" if printed is None else str(printed)


def _mtg(scorer: Scorer | None, paper_row: str | None) -> str:
    trained = scorer.training and scorer.training.mtg if scorer else published_rows("table6")[str(paper_row)]["mtg"]
    return "" if trained is None else "yes" if trained else "no"
