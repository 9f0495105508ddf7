"""Painting as the commands do it, and engines of single sources."""

from pathlib import Path
from typing import Any

from pictures import PHOTOGRAPHS

from nearid.config.settings.distractors import InpaintShard
from nearid.distractors import runner
from nearid.distractors.engines import open_engine
from nearid.distractors.pool import Pool
from nearid.layout import Layout


def paint_shard(settings: dict[str, Any], layout: Layout, shard: str, parts: int = 1) -> None:
    runner.paint_shard(InpaintShard.parse(settings), layout, shard, parts)


def paint_part(settings: dict[str, Any], layout: Layout, shard: str, part: int, parts: int) -> None:
    runner.paint_part(InpaintShard.parse(settings), layout, shard, part, parts)


def engine_of(source: dict[str, Any], **options: Any) -> Any:
    """The engine of a source with some options changed, for photographs."""
    source = {**source, "options": {**source["options"], **options}}
    dataset = {"kind": "image_folder", "options": PHOTOGRAPHS}
    settings = InpaintShard.parse({"seed": 0, "source": source, "source_id": "s", "splits": [], "dataset": dataset})
    return open_engine(settings.source, settings.dataset, 0, Pool(Layout(Path("nowhere"))))
