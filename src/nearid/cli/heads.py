"""Commands of the stage `heads`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from nearid.cli.options import step
from nearid.config.settings.heads import TrainHead
from nearid.errors import UserError
from nearid.layout import Layout


@click.group()
def heads() -> None:
    """Train pooling heads on frozen tokens."""


@heads.command()
@click.option("--ablation", required=True, help="Id in the config's `ablations`.")
@click.option("--along", metavar="JSON", default="[]", help="Settings of the other heads of the pack.")
@step("train_head", TrainHead)
def train(layout: Layout, settings: TrainHead, ablation: str, along: str) -> None:
    """Train the head of one ablation; started again after a kill, it resumes.

    Other heads of the pack that are not up to date train on the same batches; their own commands then only write files.
    """
    from nearid.config.accepted import result_code
    from nearid.distributed.ranks import read_ranks
    from nearid.heads import finished

    if settings.ablation != ablation:
        raise UserError("--ablation", ablation, f"{settings.ablation}, as in --settings", "name the same one")
    code = result_code("train_head", settings.given, layout.root)
    # Another head's job may have trained it too; then PyTorch need not be loaded.
    if read_ranks().size == 1 and finished.take(layout, settings, code):
        return
    from nearid.heads.training import train

    others = [TrainHead.parse(other, "--along") for other in json.loads(along)]
    codes = [result_code("train_head", other.given, layout.root) for other in others]
    train(settings, layout, code, list(zip(others, codes, strict=True)))


@heads.command()
@click.option("--results", type=click.Path(path_type=Path), required=True, help="The folder results/<name>.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the event files.")
def tensorboard(results: Path, output: Path) -> None:
    """Write all heads' logs as TensorBoard event files, also for trainings that are running."""
    from nearid.heads.boards import write_boards

    for name, steps in write_boards(Layout(results), output).items():
        click.echo(f"{name}: {steps} steps")
