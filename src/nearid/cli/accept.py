"""`nearid accept`: keep results that earlier code made."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("steps", nargs=-1, required=True, metavar="STEP...")
@click.option("--config", "overlays", multiple=True, type=click.Path(path_type=Path), help="Overlay on config.yaml.")
@click.option("--why", required=True, help="The reason; shown in the manifest and on the page.")
def accept(steps: tuple[str, ...], overlays: tuple[Path, ...], why: str) -> None:
    """Accept existing results of STEPs (rules, such as train_head) as if the current code had made them.

    For an upgrade of the package whose differences you accept. Run it where you run Snakemake, with the same overlays.
    Results whose inputs or settings have changed are still made again.
    """
    from nearid.config import leave_out_missing, load, results_folder
    from nearid.layout import Layout
    from nearid.workflow.accepting import accept as take
    from nearid.workflow.graph import Graph

    config = load(*overlays)
    if config["on_missing"] == "gap":
        leave_out_missing(config)
    for step, count in take(Graph(config, Layout(results_folder(config))), steps, why).items():
        click.echo(f"{step}: {count} results of other code accepted")
