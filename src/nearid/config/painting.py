"""How the painting of a shard is divided into jobs of about `painting_minutes`; the images do not depend on it."""

from __future__ import annotations

import json
import math

from nearid.config.counts import count_images
from nearid.config.steps import step_settings
from nearid.config.types import Config
from nearid.layout import Layout


def images_per_shard(config: Config, source: str) -> float:
    """Mean number of images that are painted for a shard of a source."""
    splits = step_settings("inpaint_shard", config, source=source)["splits"]
    return count_images(config, splits) / int(config["dataset"]["shards"])


def planned_parts(config: Config, source: str) -> int:
    """Number of jobs that paint a shard of `source`, by `seconds_per_image`; 1: the shard's own job paints it."""
    seconds = config["sources"][source]["seconds_per_image"]
    if not seconds or source in config["released"]:
        return 1
    return max(1, math.ceil(seconds * images_per_shard(config, source) / (60 * config["painting_minutes"])))


def parts_of_shard(config: Config, layout: Layout, source: str, shard: str) -> int:
    """Number of jobs that paint this shard; if it exists or all its parts are painted, the number that painted it.

    Otherwise a changed `seconds_per_image` would change the shard's inputs, and Snakemake would have it painted again.
    """
    if layout.distractors(source, shard).exists():
        try:
            return int(json.loads(layout.distractor_report(source, shard).read_text()).get("parts", 1))
        except (OSError, ValueError):
            pass  # without a readable report the shard is made again
    planned = planned_parts(config, source)
    return next((parts for parts in _cut_before(layout, source, shard) if parts != planned), planned)


def _cut_before(layout: Layout, source: str, shard: str) -> list[int]:
    """Numbers of parts for which each part of the shard is painted, so that these have only to be joined."""
    marks = list(layout.painted(source, shard, 1, 1).parent.glob(f"{shard}.*of*"))
    totals = {int(mark.name.rpartition("of")[2]) for mark in marks if mark.name.rpartition("of")[2].isdigit()}
    return [
        parts
        for parts in sorted(totals)
        if all(layout.painted(source, shard, part, parts).exists() for part in range(1, parts + 1))
    ]
