"""`nearid export`: a trained head as a model folder, or the data of a run as data sets."""

from __future__ import annotations

from pathlib import Path

import click

from nearid.layout import Layout


@click.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="A folder that does not exist yet.")
@click.option("--ablation", default="nearid", show_default=True, help="The ablation whose head is exported.")
@click.option(
    "--layout",
    "form",
    type=click.Choice(["siglip", "release"]),
    default="siglip",
    show_default=True,
    help="siglip: loads with transformers' SiglipVisionModel; release: the authors' layout (model_type nearid).",
)
@click.option("--data", is_flag=True, help="Instead: positives and distractors as data sets in the released layout.")
def export(results: Path, output: Path, ablation: str, form: str, data: bool) -> None:
    """Write the trained head of RESULTS (say, results/demo) as a model, with a card that shows its scores."""
    from nearid.release.export import export_data, export_model

    if data:
        for folder in export_data(Layout(results), output):
            click.echo(folder)
        return
    export_model(Layout(results), ablation, output, form)
    click.echo(output)
