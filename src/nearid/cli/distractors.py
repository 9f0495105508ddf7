"""`nearid distractors`: the same background with another instance."""

from __future__ import annotations

import re

import click

from nearid.cli.options import step
from nearid.config.settings.distractors import InpaintShard, MakeQualitySheet
from nearid.errors import UserError
from nearid.layout import Layout


@click.group()
def distractors() -> None:
    """Paint near-identity distractors."""


@distractors.command()
@click.option("--source", required=True, help="Id of the source.")
@click.option("--shard", required=True, help="Id of the positives' shard.")
@click.option("--part", metavar="K/N", help="Paint the Kth of N parts only, and keep its images for `--join N`.")
@click.option("--join", type=click.IntRange(min=2), help="Paint nothing: put this number of painted parts together.")
@step("inpaint_shard", InpaintShard)
def inpaint(
    layout: Layout, settings: InpaintShard, source: str, shard: str, part: str | None, join: int | None
) -> None:
    """Paint one distractor per view of a shard."""
    from nearid.distractors.runner import paint_part, paint_shard

    if part is None:
        paint_shard(settings, layout, shard, join or 1)
        return
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    if not found or join or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError("--part", repr(part), "K/N with K from 1 to N, such as 2/5, and no --join", "correct it")
    paint_part(settings, layout, shard, int(found[1]), int(found[2]))


@distractors.command()
@click.option("--source", required=True, help="Id of the source.")
@step("make_quality_sheet", MakeQualitySheet)
def quality(layout: Layout, settings: MakeQualitySheet, source: str) -> None:
    """Numbers and examples of a source's distractors: difference inside and outside the mask, counts."""
    from nearid.distractors.quality import make_quality_sheet

    make_quality_sheet(settings, layout)
