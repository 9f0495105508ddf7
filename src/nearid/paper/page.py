"""paper/index.html: one static page that shows a run; it opens as a local file, without a network."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from nearid.config.settings.paper import MakePage, Run, Scorer
from nearid.data.kinds import describe_kind
from nearid.io.files import write_text
from nearid.io.hashing import hash_file
from nearid.io.tables import read_table
from nearid.layout import Layout
from nearid.paper.aims import find_aims
from nearid.paper.captions import FIGURES
from nearid.paper.comparison import compare_tables
from nearid.paper.effects import find_effects
from nearid.paper.metrics import Cell, Metrics, read_metrics
from nearid.paper.reference import describe_comparability
from nearid.paper.run import find_scorer, list_measured, name_sources
from nearid.paper.tables import build_table, in_order

PEOPLE_ALONE = "These are numbers about agreement with people on DreamBench++ alone: no distractor is part of this run."
STAND_INS = (
    "A dress rehearsal: every download is a small stand-in (a model of random weights, or drawn pictures), and all "
    "sizes are tiny. It shows that each job runs and where each number comes from; no number means anything."
)
MAX_DROPPED = 50
PAPERS_ALPHA = 0.5


@dataclass(frozen=True)
class FigureEntry:
    """A figure on the page; `moves` if it has an animation."""

    name: str
    title: str
    caption: str
    moves: bool


@dataclass(frozen=True)
class Example:
    """The identity at the top of the page; its strip of pictures has a row of views, then a row per source."""

    id: int
    class_name: str
    sources: tuple[str, ...]


def write_page(settings: MakePage, layout: Layout) -> None:
    """Write paper/index.html (settings of `make_page`)."""
    write_text(layout.paper("index.html"), render_page(settings, layout))


def render_page(settings: MakePage, layout: Layout) -> str:
    """The page as HTML; all text from config and data is escaped.

    Figures are linked, not embedded, so that a figure's new style needs no new page.
    """
    run = settings.run
    metrics = read_metrics(layout, list_measured(run))
    environment = Environment(
        loader=PackageLoader("nearid.paper"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # A run of ratings only has no data set.
    dropped = _read_dropped(layout.dropped) if layout.dropped.is_file() else []
    pairs = compare_tables(settings.compared, layout)
    return environment.get_template("index.html.j2").render(
        run=run,
        headline_sources=name_sources(run, run.headline_group),
        what_it_is=_what_it_is(run),
        headlines=_headlines(settings, run, metrics),
        sentence=_sentence(run, metrics),
        own_alpha=_own_alpha(run),
        example=_find_example(layout, run),
        effects=find_effects(run, metrics),
        aims=find_aims(settings, metrics),
        tables=[build_table(settings.tables[name], layout).filled() for name in in_order(settings.tables)],
        figures=[_figure_entry(name, layout) for name in _arrange(settings.figures)],
        browser=any(measured.content.get("nearid_bench") for measured in metrics.values()),
        comparison=pairs,
        verdicts=Counter(pair.verdict for pair in pairs),
        comparable=describe_comparability(run),
        counts=_count_identities(layout) if layout.identities.is_file() else [],
        gaps=settings.gaps,
        dropped=dropped[:MAX_DROPPED],
        dropped_more=max(0, len(dropped) - MAX_DROPPED),
        hashes=[(scorer.id, hash_file(layout.metrics(scorer.id))) for scorer in run.scorers],
    )


def _what_it_is(run: Run) -> str:
    if run.stand_ins:
        return STAND_INS
    if run.benchmarks == ["dreambench"]:
        return PEOPLE_ALONE
    return describe_kind(run.dataset_kind).numbers


def _arrange(figures: list[str]) -> list[str]:
    """The paper's figures in its order, then our own in the config's."""
    numbered = [name for name in figures if name.startswith("figure")]
    return [*in_order(numbered), *(name for name in figures if name not in numbered)]


def _figure_entry(name: str, layout: Layout) -> FigureEntry:
    title, caption = FIGURES.get(name, (name, ""))
    return FigureEntry(name, title, caption, moves=layout.figure(name, "gif").is_file())


def _read_dropped(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def _headlines(settings: MakePage, run: Run, metrics: Mapping[str, Metrics]) -> list[tuple[Scorer, Cell, Cell]]:
    """SSR and PA in the headline group, for the first table's scorers (without a table, for all) that have them."""
    first = in_order(settings.tables)[:1]
    shown = {scorer.id for name in first for scorer in settings.tables[name].run.scorers}
    measured = [(scorer, metrics[scorer.id]) for scorer in run.scorers if scorer.id in shown or not shown]
    group = run.headline_group
    return [
        (scorer, own.rate("ssr", group), own.rate("pa", group))
        for scorer, own in measured
        if own.rate("ssr", group).value is not None
    ]


def _own_alpha(run: Run) -> str:
    """A note if the ranking weight differs from the paper's; else empty."""
    scorer = find_scorer(run, "nearid")
    if scorer is None or scorer.training is None:
        return ""
    alpha = scorer.training.params.get("alpha", PAPERS_ALPHA)
    if alpha == PAPERS_ALPHA:
        return ""
    return (
        f"The ranking term of {scorer.display} has weight {alpha:g} here, where the paper has {PAPERS_ALPHA:g}. "
        "Table 8 shows what other weights do."
    )


def _sentence(run: Run, metrics: Mapping[str, Metrics]) -> str:
    """The headline: how many test objects a frozen encoder and trained heads recognise; empty without these."""
    told = []
    for paper_row, words in (
        ("siglip2", "The frozen encoder knows {} % of the test objects from their distractors"),
        ("infonce", "a head trained with InfoNCE {} %"),
        ("nearid", "one trained with NearID {} %"),
    ):
        scorer = find_scorer(run, paper_row)
        rate = metrics[scorer.id].rate("ssr", run.headline_group).value if scorer else None
        if rate is not None:
            told.append(words.format(f"{rate:.0f}"))
    return f"{', '.join(told)}." if len(told) > 1 and find_scorer(run, "siglip2") else ""


def _find_example(layout: Layout, run: Run) -> Example | None:
    """The first of the test identities with the most views; `show_identities` makes its strip of pictures."""
    if not layout.identities.is_file() or not run.sources or "nearid_bench" not in run.benchmarks:
        return None
    rows = read_table(layout.identities, ["row", "id", "split", "n_images", "class_name"]).to_pylist()
    tested = sorted(
        (-row["n_images"], row["row"], row["id"], row["class_name"]) for row in rows if row["split"] == "test"
    )
    if not tested:
        return None
    _, _, id, class_name = tested[0]
    return Example(id, class_name, tuple(source.display for source in run.sources))


def _count_identities(layout: Layout) -> list[tuple[str, int, int]]:
    """(split, identities, views) of the run's data."""
    rows = read_table(layout.identities, ["split", "n_images"]).to_pylist()
    views: dict[str, list[int]] = {split: [] for split in ("train", "val", "test")}
    for row in rows:
        views.setdefault(row["split"], []).append(row["n_images"])
    return [(split, len(counts), sum(counts)) for split, counts in views.items()]
