"""Quality of a source's distractors: statistics over all of them and a sheet of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nearid.data.schema import SLOTS, read_rows
from nearid.distractors.finishing import dilate
from nearid.io.files import read_json, replacing, write_json
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.io.progress import track
from nearid.io.randomness import keyed_rng
from nearid.io.tables import image_bytes
from nearid.layout import Layout, shard_ids

if TYPE_CHECKING:
    from nearid.config.settings.distractors import MakeQualitySheet

_CAPTION_PX = 14
_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
_LISTED = 10


@dataclass(frozen=True)
class QualityExample:
    """A view `[h, w, 3]`, its mask `[h, w]`, its distractor, and their mean absolute differences in grey levels."""

    id: int
    slot: int
    view: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    distractor: NDArray[np.uint8]
    inside: float
    outside: float


def make_quality_sheet(settings: MakeQualitySheet, layout: Layout) -> None:
    """Write `distractors/<source>/quality.json` and `quality.png`.

    Args:
        settings: the source, and what the sheet shows.
        layout: paths of the results folder.

    Raises:
        UserError: a shard is missing or truncated.
    """
    source, shards = settings.source_id, shard_ids(settings.shards)
    reports = [read_json(layout.distractor_report(source, shard)) for shard in shards]
    painted = sum(report["painted"] for report in reports)
    shown = _choose(settings, painted)
    inside, outside, places, examples = [], [], [], []
    for at, pair in enumerate(track(_read_pairs(settings, layout), f"quality {source}", total=painted)):
        inside.append(pair.inside)
        outside.append(pair.outside)
        places.append({"id": pair.id, "slot": pair.slot})
        if at in shown:
            examples.append(pair)
    least = np.argsort(inside, kind="stable")[:_LISTED].tolist()
    content = {
        "source": source,
        "views": sum(report["views"] for report in reports),
        "painted": painted,
        "retried": sum(len(report["retried"]) for report in reports),
        "empty_by_reason": dict(sum((Counter(report["empty_by_reason"]) for report in reports), Counter())),
        "difference_inside": _describe(inside),
        "difference_outside": _describe(outside),
        "changed_outside": sum(value > 0 for value in outside),
        "least_different": [places[at] | {"difference_inside": round(inside[at], 3)} for at in least],
    }
    with replacing(layout.quality(source, "png")) as private:
        _draw_sheet(examples, settings.size_px).save(private, format="PNG")
    write_json(layout.quality(source, "json"), content)


def _choose(settings: MakeQualitySheet, painted: int) -> set[int]:
    order = keyed_rng("quality", settings.seed, settings.source_id).permutation(painted)
    return set(order[: settings.examples].tolist())


def _read_pairs(settings: MakeQualitySheet, layout: Layout) -> Iterator[QualityExample]:
    """Every painted slot, in order."""
    for shard in shard_ids(settings.shards):
        path = layout.distractors(settings.source_id, shard)
        for positive, row in zip(read_rows(layout.positives(shard)), read_rows(path), strict=True):
            for slot in SLOTS:
                frame = image_bytes(row[f"nimg{slot}"])
                if frame is None:
                    continue
                view, mask = (image_bytes(positive[f"{name}{slot}"]) for name in ("images", "masks"))
                assert view is not None and mask is not None
                where = f"{path}, id {row['id']}, slot {slot - 1}"
                images = decode_rgb(view, where), decode_stored_mask(mask, where), decode_rgb(frame, where)
                yield _compare(row["id"], slot - 1, *images, settings.dilate_px)


def _compare(
    identity: int,
    slot: int,
    view: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    distractor: NDArray[np.uint8],
    dilate_px: int,
) -> QualityExample:
    change = np.abs(distractor.astype(float) - view).mean(axis=-1)
    around = ~dilate(mask, dilate_px)
    outside = float(change[around].mean()) if around.any() else 0.0
    return QualityExample(identity, slot, view, mask, distractor, float(change[mask].mean()), outside)


def _describe(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    ranks = {f"p{rank}": round(float(np.percentile(values, rank)), 3) for rank in _PERCENTILES}
    return {"mean": round(float(np.mean(values)), 3), **ranks}


def _draw_sheet(pairs: Sequence[QualityExample], size_px: int) -> Image.Image:
    """A row per example, under a line with its numbers: view with the mask's outline, mask, distractor, difference."""
    sheet = Image.new("RGB", (4 * size_px, max(1, len(pairs)) * (size_px + _CAPTION_PX)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, pair in enumerate(pairs):
        top = place * (size_px + _CAPTION_PX)
        numbers = f"id {pair.id}, slot {pair.slot}: difference inside {pair.inside:.1f}, outside {pair.outside:.2f}"
        pen.text((2, top + 1), numbers, fill="black")
        contours, _ = cv2.findContours(pair.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outlined = cv2.drawContours(pair.view.copy(), contours, -1, (0, 255, 0), max(1, max(pair.mask.shape) // 128))
        mask = np.repeat(pair.mask[..., None], 3, axis=2).astype(np.uint8) * 255
        change = np.abs(pair.distractor.astype(int) - pair.view).astype(np.uint8)
        for column, picture in enumerate((outlined, mask, pair.distractor, change)):
            image = Image.fromarray(picture)
            image.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
            sheet.paste(image, (column * size_px, top + _CAPTION_PX))
    return sheet
