"""Images with their masks from the Parquet shards, for scorers that look at pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from nearid.io.images import decode_mask, decode_rgb
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout

Place = tuple[str, int, int]
Picture = tuple[NDArray[np.uint8], NDArray[np.bool_] | None]


def read_pictures(layout: Layout, collection: str, places: Collection[Place]) -> Iterator[tuple[Place, Picture]]:
    """The images at `places` (shard, id, slot) of a collection, each with the mask that applies to it.

    A distractor has the mask of the view that it repaints, an edited image of MTG its own object mask (spec data.md
    1.3, 2). Masks of another size are brought to the image's by nearest neighbour.

    Raises:
        UserError: a shard is missing or cut off, or an image is damaged.
    """
    for shard in sorted({shard for shard, _, _ in places}):
        wanted = {(id, slot) for owner, id, slot in places if owner == shard}
        (image_file, images), (mask_file, masks) = _columns(layout, collection, shard)
        pixels = _cells(image_file, images, wanted)
        shapes = _cells(mask_file, masks, wanted)
        for (id, slot), encoded in pixels.items():
            where = f"{image_file}: id {id}, {images[slot]}"
            image = decode_rgb(encoded, where)
            mask = None
            if (id, slot) in shapes:
                mask = _fit(decode_mask(shapes[id, slot], f"{mask_file}: id {id}, {masks[slot]}"), image.shape[:2])
            yield (shard, id, slot), (image, mask)


def _columns(layout: Layout, collection: str, shard: str) -> tuple[tuple[Path, list[str]], tuple[Path, list[str]]]:
    # File and per-slot columns of the images, and of their masks.
    positives = layout.positives(shard), [f"masks{slot}" for slot in (1, 2, 3)]
    if collection == "positives":
        return (positives[0], [f"images{slot}" for slot in (1, 2, 3)]), positives
    if collection.startswith("mtg_"):
        path = layout.mtg(collection.removeprefix("mtg_"))
        images = [f"image_{view}_{kind}" for kind in ("original", "inpainted") for view in (1, 2)]
        return (path, images), (path, [f"image_{view}_object_mask" for view in (1, 2, 1, 2)])
    return (layout.distractors(collection, shard), [f"nimg{slot}" for slot in (1, 2, 3)]), positives


def _cells(path: Path, columns: list[str], wanted: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    table = read_table(path, ["id", *dict.fromkeys(columns)])
    table = table.filter(pc.field("id").isin(sorted({id for id, _ in wanted})))
    rows: list[dict[str, Any]] = table.to_pylist()
    cells = {(row["id"], slot): image_bytes(row[column]) for row in rows for slot, column in enumerate(columns)}
    return {place: cell for place, cell in cells.items() if place in wanted and cell is not None}


def _fit(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    if mask.shape == shape:
        return mask
    return np.asarray(Image.fromarray(mask).resize(shape[::-1], Image.Resampling.NEAREST))
