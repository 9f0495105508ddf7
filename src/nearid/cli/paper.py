"""`nearid paper`: tables, figures, the comparison with the paper, the page and the manifest."""

from __future__ import annotations

from pathlib import Path

import click

from nearid.cli.options import step
from nearid.config.settings.paper import (
    CompareWithPaper,
    ComputeFigure,
    MakePage,
    MakeTable,
    PlotFigure,
    ShowIdentities,
    WriteManifest,
    WriteSummary,
)
from nearid.layout import Layout


@click.group()
def paper() -> None:
    """Make the paper's artifacts from scores, heads and images."""


@paper.command()
@click.option("--table", required=True, help="Id of the table.")
@step("make_table", MakeTable)
def table(layout: Layout, settings: MakeTable, table: str) -> None:
    """One table as CSV, LaTeX and Markdown."""
    from nearid.paper.formats import write_table
    from nearid.paper.tables import build_table

    write_table(build_table(settings, layout), layout)


@paper.command("figure-data")
@click.option("--figure", required=True, help="Id of the figure.")
@step("compute_figure", ComputeFigure)
def figure_data(layout: Layout, settings: ComputeFigure, figure: str) -> None:
    """Compute what a figure plots."""
    from nearid.paper.figures import compute_figure

    compute_figure(settings, layout)


@paper.command()
@click.option("--figure", required=True, help="Id of the figure.")
@step("plot_figure", PlotFigure)
def figure(layout: Layout, settings: PlotFigure, figure: str) -> None:
    """Plot a figure from its data, without computing anything again."""
    from nearid.paper.figures import plot_figure

    plot_figure(settings, layout)


@paper.command()
@step("compare_with_paper", CompareWithPaper)
def compare(layout: Layout, settings: CompareWithPaper) -> None:
    """Compare our value with the paper's in every cell of the tables."""
    from nearid.paper.comparison import write_comparison

    write_comparison(settings, layout)


@paper.command()
@step("show_identities", ShowIdentities)
def identities(layout: Layout, settings: ShowIdentities) -> None:
    """Write pictures and margins of the test identities, for browsing them on the page."""
    from nearid.paper.browser import write_browser

    write_browser(settings, layout)


@paper.command()
@step("make_page", MakePage)
def page(layout: Layout, settings: MakePage) -> None:
    """The results page."""
    from nearid.paper.page import write_page

    write_page(settings, layout)


@paper.command()
@step("write_manifest", WriteManifest)
def manifest(layout: Layout, settings: WriteManifest) -> None:
    """Record hashes, settings, versions and machine."""
    from nearid.paper.manifest import write_manifest

    write_manifest(settings, layout)


@paper.command()
@click.option("--results", required=True, type=click.Path(path_type=Path), help="The folder results/<name>.")
@click.option(
    "--workflow",
    type=click.Path(path_type=Path, exists=True),
    default=Path(__file__).parents[3] / "workflow",
    help="Folder of Snakefile and rules; this checkout's if not given.",
)
def crate(results: Path, workflow: Path) -> None:
    """Write the run as an RO-Crate, from its manifest."""
    from nearid.paper.crate import write_crate

    write_crate(Layout(results), workflow)


@paper.command()
@click.option("--results", required=True, type=click.Path(path_type=Path), help="The folder results/<name>.")
def verify(results: Path) -> None:
    """Compare all files with the manifest's hashes and make the tables again from the scores."""
    from nearid.paper.verification import verify

    for line in verify(Layout(results)):
        click.echo(line)


@paper.command()
@step("write_summary", WriteSummary)
def summary(layout: Layout, settings: WriteSummary) -> None:
    """The headline numbers in a few lines."""
    from nearid.paper.summary import write_summary

    # On stderr: in a run with many jobs it goes to this job's log, not between the lines of other jobs.
    click.echo(write_summary(settings, layout), nl=False, err=True)


@paper.command()
@click.option(
    "--results", "folders", multiple=True, required=True, type=click.Path(path_type=Path), help="One per seed."
)
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder for seeds.csv and seeds.md.")
@click.option("--ours", default="nearid", show_default=True, help="Scorer that should win.")
@click.option("--baseline", default="infonce", show_default=True, help="Scorer that it should beat.")
def seeds(folders: tuple[Path, ...], output: Path, ours: str, baseline: str) -> None:
    """Show mean and spread over full runs with different seeds (repeat --results)."""
    from nearid.paper.seeds import write_seeds

    click.echo(write_seeds([Layout(folder) for folder in folders], output, ours, baseline), nl=False)
