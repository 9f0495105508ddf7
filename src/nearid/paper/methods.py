"""The layout that most tables share: a row per method, its benchmarks in the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nearid.config.settings.paper import Run, Scorer
from nearid.paper.metrics import Cell, Metrics
from nearid.paper.reference import METHODS, published_rows
from nearid.paper.run import explain_absence, find_scorer, name_sources
from nearid.paper.table import Column, Row, Table

_BENCH, _MTG, _HUMAN = "NearID-bench", "MTG", "DreamBench++"
PRINTED_PA = "PA (printed)"
ABOUT_PA = f"{PRINTED_PA} is compared with the paper's: beside the pairs it counts each identity's mean margin once."
COLUMNS = tuple(
    Column(id, display, spanner, id, digits, paper_column)
    for id, display, spanner, digits, paper_column in (
        ("nearid_ssr", "SSR", _BENCH, 2, "nearid_ssr"),
        ("nearid_pa", "PA", _BENCH, 2, None),
        ("nearid_pa_table", PRINTED_PA, _BENCH, 2, "nearid_pa"),
        ("m_o", "M-O", _MTG, 3, "m_o"),
        ("m_o_pair", "M-O pair", _MTG, 3, "m_o_pair"),
        ("mtg_ssr", "SSR", _MTG, 1, "mtg_ssr"),
        ("mtg_pa", "PA", _MTG, 1, "mtg_pa"),
        ("m_h", "M-H", _HUMAN, 3, "m_h"),
    )
)
# The NearID objective's defaults (a test compares them); importing it would import torch.
SWEPT_DEFAULTS = {"alpha": 0.5, "beta": 0.0}

Cells = dict[str, Cell]
Place = Callable[[Scorer], str | None]
Describe = Callable[[Scorer | None, str | None], str]


def build_methods(
    name: str,
    title: str,
    key: str,
    run: Run,
    metrics: Mapping[str, Metrics],
    *,
    columns: Sequence[Column] = COLUMNS,
    place: Place = lambda scorer: scorer.paper_row,
    measure: Callable[[Scorer], Cells] | None = None,
    display: Describe | None = None,
    labels: Mapping[str, Describe] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """All rows of the paper's table in its order, with gaps for those not run, then the scorers that it does not have.

    Args:
        place: a scorer's row in this table of the paper, None if it has none.
        measure: a scorer's cells by column id, those of `COLUMNS` by default.
        display: a row's name from its scorer and its row in the paper, one of which may be None.
        labels: further texts of a row, from the same.
    """
    measure = measure or (lambda scorer: measure_benchmarks(run, metrics, scorer))
    display, labels = display or _display, labels or {}
    stands_for = {scorer.id: place(scorer) for scorer in run.scorers}
    printed = published_rows(name)

    def row(scorer: Scorer | None, paper_row: str | None, opens_block: bool = False) -> Row:
        gap = Cell(reason=explain_absence(run, lambda other: place(other) == paper_row))
        measured = measure(scorer) if scorer else dict.fromkeys((column.id for column in columns), gap)
        return Row(
            scorer.id if scorer else str(paper_row),
            display(scorer, paper_row),
            {column.id: measured[column.id] for column in columns},
            paper_row,
            {label: describe(scorer, paper_row) for label, describe in labels.items()},
            opens_block,
        )

    rows = []
    for paper_row in printed:
        standing = [scorer for scorer in run.scorers if stands_for[scorer.id] == paper_row]
        rows += [row(scorer, paper_row) for scorer in standing] or [row(None, paper_row)]
    own = [scorer for scorer in run.scorers if stands_for[scorer.id] not in printed]
    rows += [row(scorer, None, opens_block=bool(rows) and index == 0) for index, scorer in enumerate(own)]
    frozen = find_scorer(run, "siglip2")
    whole = "" if any(column.id.startswith("fg_") for column in columns) else ", full image"
    borrowed = [
        f"M-H of {scorer.display} is that of scorer {scorer.m_h_from}, as in the paper."
        for scorer in run.scorers
        if scorer.m_h_from and "m_h" in {column.id for column in columns}
    ]
    return Table(
        name,
        title,
        key,
        tuple(columns),
        tuple(rows),
        best_along="column",
        labels=tuple(labels),
        notes=(
            *(
                [f"NearID-bench: test identities{whole}, pooled over {name_sources(run, run.headline_group)}."]
                if name_sources(run, run.headline_group)
                else []
            ),
            f"SSR, PA in percent{_name_correlations(columns)}. Intervals and counts are in the CSV file.",
            *([ABOUT_PA] if PRINTED_PA in {column.display for column in columns} else []),
            *borrowed,
            *notes,
        ),
        baseline=frozen.id if frozen else None,
    )


def _name_correlations(columns: Sequence[Column]) -> str:
    """Which of the columns are correlations, as the end of a sentence."""
    shown = {column.display for column in columns}
    names = [name for name in ("M-O", "M-H") if name in shown]
    if not names:
        return ""
    return f"; {names[0]} is a correlation" if len(names) == 1 else f"; {', '.join(names)} are correlations"


def measure_benchmarks(run: Run, metrics: Mapping[str, Metrics], scorer: Scorer) -> Cells:
    """The cells of `COLUMNS` for a scorer."""
    measured = metrics[scorer.id]
    return {
        "nearid_ssr": measured.rate("ssr", run.headline_group),
        "nearid_pa": measured.rate("pa", run.headline_group),
        "nearid_pa_table": measured.rate("pa_table", run.headline_group),
        **{metric: measured.mtg(metric) for metric in ("m_o", "m_o_pair", "mtg_ssr", "mtg_pa")},
        "m_h": metrics[scorer.m_h_from or scorer.id].m_h(),
    }


def frozen_place(scorer: Scorer) -> str | None:
    """The row of a scorer in the tables of trained heads, whose first row is the frozen trunk."""
    return "frozen" if scorer.paper_row == "siglip2" else scorer.paper_row


def swept_place(fixed: Mapping[str, float], swept: str) -> Place:
    """The row of a scorer in a sweep over the parameter `swept` of the NearID objective, others as `fixed`."""

    def place(scorer: Scorer) -> str | None:
        training = scorer.training
        if training is None or training.objective != "nearid":
            return None
        params = SWEPT_DEFAULTS | dict(training.params)
        return str(float(params[swept])) if all(params[name] == value for name, value in fixed.items()) else None

    return place


def _display(scorer: Scorer | None, paper_row: str | None) -> str:
    return scorer.display if scorer else METHODS[str(paper_row)]


def show_swept(swept: str) -> Describe:
    """The value of the swept parameter as a row's name."""

    def show(scorer: Scorer | None, paper_row: str | None) -> str:
        if paper_row is not None:
            return f"{float(paper_row):g}"
        training = scorer.training if scorer else None
        value = (SWEPT_DEFAULTS | dict(training.params)).get(swept) if training else None
        return f"{scorer.display} ({swept} {value:g})" if scorer and value is not None else _display(scorer, paper_row)

    return show
