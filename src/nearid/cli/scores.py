"""`nearid scores`: similarities and metrics per scorer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nearid.cli.options import resolve, step
from nearid.layout import Layout

along = click.option("--along", metavar="JSON", default="{}", help="Scorers of the same tokens to score along, by id.")


@click.group()
def scores() -> None:
    """Score the benchmarks, and compute the metrics."""


@scores.command("nearid-bench")
@click.option("--scorer", required=True, help="Id of the scorer.")
@click.option("--split", help="Split to score instead of the settings' one; needs --output.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write instead of the scorer's own.")
@along
@step("score_nearid_bench")
def nearid_bench(
    layout: Layout, settings: dict[str, Any], scorer: str, split: str | None, output: Path | None, along: str
) -> None:
    """Similarities of views and distractors, per identity, source and condition."""
    from nearid.config.accepted import result_code
    from nearid.scores.nearid_bench import score_nearid_bench

    if split and not output:
        raise click.UsageError("--split needs --output: the scorer's own file holds the benchmark's split")
    if split:
        settings = settings | {"split": split}
    code, others = (
        result_code("score_nearid_bench", settings, layout.root),
        _others("score_nearid_bench", settings, along, layout.root),
    )
    score_nearid_bench(settings, layout, output or layout.scores(scorer, "nearid_bench"), code, others)


@scores.command()
@click.option("--scorer", required=True, help="Id of the scorer.")
@along
@step("score_mtg")
def mtg(layout: Layout, settings: dict[str, Any], scorer: str, along: str) -> None:
    """Similarities of MTG's originals and edited copies, beside the size of the edit."""
    from nearid.config.accepted import result_code
    from nearid.scores.mtg import score_mtg

    code, others = (
        result_code("score_mtg", settings, layout.root),
        _others("score_mtg", settings, along, layout.root),
    )
    score_mtg(settings, layout, layout.scores(scorer, "mtg"), code, along=others)


@scores.command()
@click.option("--scorer", help="Id of the scorer (the rule's way).")
@click.option("--results", type=click.Path(path_type=Path), help="The folder results/<name>.")
@click.option("--settings", metavar="JSON", help="This step's settings, as its rule passes them.")
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="Overlay on config.yaml (repeatable).")
@click.option("--ratings", type=click.Path(path_type=Path), help="Instead: a folder of released rating files.")
@click.option("--category", default="object", show_default=True, help="With --ratings: the category to report.")
@click.option("--json", "as_json", is_flag=True, help="With --ratings: print JSON.")
@along
def dreambench(
    scorer: str | None,
    results: Path | None,
    settings: str | None,
    config: tuple[Path, ...],
    ratings: Path | None,
    category: str,
    as_json: bool,
    along: str,
) -> None:
    """Scores of DreamBench++'s generated images; with --ratings: agreement of released ratings with the humans'."""
    from nearid.config.accepted import result_code
    from nearid.scores import dreambench

    if ratings is not None:
        report = dreambench.compare_release(ratings, category)
        click.echo(json.dumps(report, indent=2) if as_json else dreambench.format_report(report))
        return
    if scorer is None:
        raise click.UsageError("say --scorer, or --ratings FOLDER")
    layout, values = resolve("score_dreambench", results, settings, config, {"scorer": scorer})
    code = result_code("score_dreambench", values, layout.root)
    others = _others("score_dreambench", values, along, layout.root)
    dreambench.score_dreambench(values, layout, layout.scores(scorer, "dreambench"), code, others)


@scores.command()
@click.option("--scorer", required=True, help="Id of the scorer.")
@step("summarise_scores")
def summarise(layout: Layout, settings: dict[str, Any], scorer: str) -> None:
    """Every metric of a scorer with counts and confidence intervals, from its similarities."""
    from nearid.scores.summary import summarise

    summarise(settings, layout)


def _others(step: str, settings: dict[str, Any], along: str, results: Path) -> list[tuple[dict[str, Any], str]]:
    """Settings and code of the other scorers: they differ from the scorer in their entry alone."""
    from nearid.config.accepted import result_code

    named = json.loads(along).items()
    others = [{**settings, "scorer": entry, "scorer_id": name} for name, entry in named]
    return [(other, result_code(step, other, results)) for other in others]
