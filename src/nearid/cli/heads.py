"""Commands of the stage `heads`."""

from __future__ import annotations

from typing import Any

import click

from nearid.cli.options import step
from nearid.layout import Layout


@click.group()
def heads() -> None:
    """Train pooling heads on frozen tokens."""


@heads.command()
@click.option("--ablation", required=True, help="Id in the config's `ablations`.")
@step("train_head")
def train(layout: Layout, settings: dict[str, Any], ablation: str) -> None:
    """Train the head of one ablation; started again after a kill, or behind its pack, it goes on where it was."""
    from nearid.config import step_code
    from nearid.heads.training import train

    settings |= {"ablation": ablation}
    train(settings, layout, step_code("train_head", settings))


@heads.command("train-pack")
@click.option("--pack", required=True, help="Id of the pack: its first ablation (see `training.pack` in the config).")
@step("train_pack")
def train_pack(layout: Layout, settings: dict[str, Any], pack: str) -> None:
    """Train the heads that share their batches together, those that are up to date left out."""
    from nearid.config import step_code
    from nearid.heads.training import train_pack

    members = settings["members"]
    train_pack(members, layout, [step_code("train_head", member) for member in members])
