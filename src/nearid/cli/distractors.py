"""`nearid distractors`: the same background with another instance."""

from __future__ import annotations

from typing import Any

import click

from nearid.cli.options import step
from nearid.layout import Layout


@click.group()
def distractors() -> None:
    """Paint near-identity distractors."""


@distractors.command()
@click.option("--source", required=True, help="Id of the source.")
@click.option("--shard", required=True, help="Id of the positives' shard.")
@step("inpaint_shard")
def inpaint(layout: Layout, settings: dict[str, Any], source: str, shard: str) -> None:
    """One distractor per view of a shard."""
    from nearid.distractors.runner import paint_shard

    paint_shard(settings, layout, shard)


@distractors.command()
@click.option("--source", required=True, help="Id of the source.")
@step("make_quality_sheet")
def quality(layout: Layout, settings: dict[str, Any], source: str) -> None:
    """Numbers and examples of a source's distractors: difference inside and outside the mask, counts."""
    from nearid.distractors.quality import make_quality_sheet

    make_quality_sheet(settings, layout)
