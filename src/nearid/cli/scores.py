"""`nearid scores`: similarities and metrics per scorer."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nearid.cli.options import resolve, step
from nearid.config.settings.scores import Score, ScoreDreamBench, ScoreMTG, ScoreNearIDBench, SummariseScores
from nearid.layout import Layout

along = click.option("--along", metavar="JSON", default="{}", help="Scorers, by id, to score together: same tokens.")


@click.group()
def scores() -> None:
    """Score the benchmarks, and compute the metrics."""


@scores.command("nearid-bench")
@click.option("--scorer", required=True, help="Id of the scorer.")
@click.option("--split", help="Split to score instead of the settings' one; needs --output.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write instead of the scorer's own.")
@along
@step("score_nearid_bench", ScoreNearIDBench)
def nearid_bench(
    layout: Layout, settings: ScoreNearIDBench, scorer: str, split: str | None, output: Path | None, along: str
) -> None:
    """Similarities of views and distractors, per identity, source and condition."""
    from nearid.config.accepted import result_code
    from nearid.scores.nearid_bench import score_nearid_bench

    if split and not output:
        raise click.UsageError("--split needs --output: the scorer's own file holds the benchmark's split")
    if split:
        settings = ScoreNearIDBench.parse({**settings.given, "split": split})
    code = result_code("score_nearid_bench", settings.given, layout.root)
    others = _others("score_nearid_bench", settings, along, layout.root)
    score_nearid_bench(settings, layout, output or layout.scores(scorer, "nearid_bench"), code, others)


@scores.command()
@click.option("--scorer", required=True, help="Id of the scorer.")
@along
@step("score_mtg", ScoreMTG)
def mtg(layout: Layout, settings: ScoreMTG, scorer: str, along: str) -> None:
    """Similarities of MTG's originals and edited copies, beside the size of the edit."""
    from nearid.config.accepted import result_code
    from nearid.scores.mtg import score_mtg

    code = result_code("score_mtg", settings.given, layout.root)
    others = _others("score_mtg", settings, along, layout.root)
    score_mtg(settings, layout, layout.scores(scorer, "mtg"), code, along=others)


@scores.command()
@click.option("--scorer", help="Id of the scorer.")
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
    code, own = result_code("score_dreambench", values, layout.root), ScoreDreamBench.parse(values)
    others = _others("score_dreambench", own, along, layout.root)
    dreambench.score_dreambench(own, layout, layout.scores(scorer, "dreambench"), code, others)


@scores.command()
@click.option("--scorer", required=True, help="Id of the scorer.")
@step("summarise_scores", SummariseScores)
def summarise(layout: Layout, settings: SummariseScores, scorer: str) -> None:
    """Every metric of a scorer with counts and confidence intervals, from its similarities."""
    from nearid.scores.summary import summarise

    summarise(settings, layout)


def _others(step: str, settings: Score, along: str, results: Path) -> list[tuple[Score, str]]:
    """Settings and code of the other scorers, whose settings differ only in the scorer's entry."""
    from nearid.config.accepted import result_code

    named = json.loads(along).items()
    others = [settings.parse({**settings.given, "scorer": entry, "scorer_id": name}) for name, entry in named]
    return [(other, result_code(step, other.given, results)) for other in others]
