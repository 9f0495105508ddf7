"""`nearid data`: identities, views, masks and splits."""

from __future__ import annotations

import click

from nearid.cli.options import step
from nearid.config.settings.data import CuratePositives, MakeMTG, MakeRaters
from nearid.layout import Layout


@click.group()
def data() -> None:
    """Make the data set: positives, splits, the part-edit benchmark."""


@data.command()
@click.option("--workers", default=1, show_default=True, help="Processes that load identities.")
@step("curate_positives", CuratePositives)
def curate(layout: Layout, settings: CuratePositives, workers: int) -> None:
    """Load all identities, drop the unusable ones (recording the reason), draw the splits."""
    from nearid.data.positives import curate

    curate(settings, layout, workers)


@data.command()
@click.option("--workers", default=1, show_default=True, help="Processes that render.")
@step("make_raters", MakeRaters)
def raters(layout: Layout, settings: MakeRaters, workers: int) -> None:
    """Make pictures of seven simulated methods, and the ratings of simulated raters."""
    from nearid.demo.raters import write_raters

    write_raters(settings, layout, workers)


@data.command()
@click.option("--split", required=True, type=click.Choice(["train", "test"]), help="Split of the part-edit set.")
@click.option("--workers", default=1, show_default=True, help="Processes that render.")
@step("make_mtg", MakeMTG)
def mtg(layout: Layout, settings: MakeMTG, split: str, workers: int) -> None:
    """Make one split of the part-edit (Mind-the-Glitch) set."""
    from nearid.data.mtg import write_mtg

    write_mtg(settings, layout, split, workers)
