"""The images of a collection, in a fixed order, still encoded: the positives, a distractor source, MTG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from nearid.data.schema import SLOTS
from nearid.errors import UserError
from nearid.io.images import decode_rgb, decode_stored_mask
from nearid.io.tables import image_bytes, read_table
from nearid.layout import Layout

SPLITS = ("train", "val", "test")
MTG_COLUMNS = tuple(
    (f"image_{view}_{kind}", f"image_{view}_object_mask") for kind in ("original", "inpainted") for view in (1, 2)
)

Reader = Callable[[Path, Sequence[str]], pa.Table]


@dataclass(frozen=True)
class Picture:
    """One image of a collection: its origin, its key (id, slot), the encoded image and object mask, its split."""

    where: str
    id: int
    slot: int
    image: bytes
    mask: bytes | None
    split: str = ""

    def pixels(self, variant: str) -> NDArray[np.uint8]:
        """Pixels [h, w, 3]: all of them (`full`), or with black outside the object (`fg`).

        Raises:
            UserError: image or mask is damaged.
        """
        image = decode_rgb(self.image, self.where)
        if variant == "full":
            return image
        assert self.mask is not None
        return foreground(image, decode_stored_mask(self.mask, f"{self.where}, its mask"))


def foreground(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`image` [h, w, 3] with black outside `mask`, same frame (docs/protocol.md 4.3)."""
    return np.where(fit_mask(mask, image)[..., None], image, np.uint8(0))


def fit_mask(mask: NDArray[np.bool_], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`mask` at the size of `image` [h, w, 3], resized by nearest neighbour if need be (docs/protocol.md 4.3)."""
    if mask.shape == image.shape[:2]:
        return mask
    return np.asarray(Image.fromarray(mask).resize(image.shape[1::-1], Image.Resampling.NEAREST))


def with_raw_masks(read: Reader) -> Reader:
    """A reader that returns the data set's own masks instead of the cleaned ones (`dataset.keep_raw_masks`)."""

    def read_raw(path: Path, columns: Sequence[str]) -> pa.Table:
        wanted = [f"raw_{name}" if name.startswith("masks") else name for name in columns]
        return read(path, wanted).select(wanted).rename_columns(list(columns))

    return read_raw


def open_collection(
    layout: Layout, collection: str, shard: str, splits: Sequence[str], read: Reader = read_table
) -> tuple[list[Picture], list[Path]]:
    """The pictures of a shard of `collection` (`positives`, `mtg_train`, `mtg_test` or a source), and its input files.

    Args:
        layout: where the files are.
        collection: its name.
        shard: its id.
        splits: positives and distractors are those of identities of these splits.
        read: reads the named columns of a file.
    """
    files = files_of(layout, collection, shard)
    if collection.startswith("mtg_"):
        return list(mtg(files[0], collection.removeprefix("mtg_"), read)), files
    if collection == "positives":
        return list(positives(files[0], splits, read)), files
    return list(distractors(files[0], files[1], splits, read)), files


def files_of(layout: Layout, collection: str, shard: str) -> list[Path]:
    """The files that the pictures of a shard of `collection` come from."""
    if collection.startswith("mtg_"):
        return [layout.mtg(collection.removeprefix("mtg_"))]
    views = layout.positives(shard)
    return [views] if collection == "positives" else [layout.distractors(collection, shard), views]


def positives(path: Path, splits: Sequence[str], read: Reader = read_table) -> Iterator[Picture]:
    """The views of identities of `splits` in a shard of the positives."""
    table = read(path, ["id", "split", *_slot_columns("images"), *_slot_columns("masks")])
    for row, split in _rows_of(table, splits):
        for slot in SLOTS:
            mask = _bytes(table, row, f"masks{slot}")
            yield from _picture(path, table, row, slot - 1, f"images{slot}", mask, split)


def distractors(
    path: Path, positives_path: Path, splits: Sequence[str], read: Reader = read_table
) -> Iterator[Picture]:
    """The distractors of identities of `splits` in a source's shard, with the masks of the views that they replace.

    Raises:
        UserError: the ids of the two shards' rows differ.
    """
    table = read(path, ["id", *_slot_columns("nimg")])
    views = read(positives_path, ["id", "split", *_slot_columns("masks")])
    if not table.column("id").equals(views.column("id")):
        raise UserError(path, "other ids or another order", f"the ids of {positives_path}", "make the shard again")
    for row, split in _rows_of(views, splits):
        for slot in SLOTS:
            mask = _bytes(views, row, f"masks{slot}")
            yield from _picture(path, table, row, slot - 1, f"nimg{slot}", mask, split)


def mtg(path: Path, split: str, read: Reader = read_table) -> Iterator[Picture]:
    """The MTG set of `split`: slots 0, 1 are originals, 2, 3 edited images, with the object mask of their view."""
    table = read(path, _mtg_columns())
    for row in range(table.num_rows):
        for slot, (image, mask) in enumerate(MTG_COLUMNS):
            yield from _picture(path, table, row, slot, image, _bytes(table, row, mask), split)


def list_pictures(
    layout: Layout, collection: str, shard: str, splits: Sequence[str], read: Reader = read_table
) -> Iterator[tuple[int, int, int, bool]]:
    """Row, id, slot and whether there is a mask, for each picture of `open_collection`, without reading any image."""
    if collection.startswith("mtg_"):
        columns: Sequence[tuple[str, str]] = MTG_COLUMNS
        images = masks = read(layout.mtg(collection.removeprefix("mtg_")), _mtg_columns())
        rows = list(range(images.num_rows))
    else:
        kind = "images" if collection == "positives" else "nimg"
        columns = list(zip(_slot_columns(kind), _slot_columns("masks"), strict=True))
        wanted = ["id", "split", *(_slot_columns("images") if kind == "images" else []), *_slot_columns("masks")]
        masks = read(layout.positives(shard), wanted)
        path = layout.distractors(collection, shard)
        images = masks if kind == "images" else read(path, ["id", *_slot_columns("nimg")])
        rows = [row for row, _ in _rows_of(masks, splits)]
    ids = images.column("id").to_pylist()
    there = [
        [table.column(name).is_valid().to_numpy() for table, name in zip((images, masks), pair, strict=True)]
        for pair in columns
    ]
    for row in rows:
        for slot, (image, mask) in enumerate(there):
            if image[row]:
                yield row, ids[row], slot, bool(mask[row])


def _mtg_columns() -> list[str]:
    return ["id", *dict.fromkeys(column for pair in MTG_COLUMNS for column in pair)]


def _slot_columns(name: str) -> list[str]:
    # Released columns count from one, our slots from zero.
    return [f"{name}{slot}" for slot in SLOTS]


def _rows_of(table: pa.Table, splits: Sequence[str]) -> list[tuple[int, str]]:
    return [(row, split) for row, split in enumerate(table.column("split").to_pylist()) if split in splits]


def _bytes(table: pa.Table, row: int, column: str) -> bytes | None:
    return image_bytes(table.column(column)[row].as_py())


def _picture(
    path: Path, table: pa.Table, row: int, slot: int, column: str, mask: bytes | None, split: str
) -> Iterator[Picture]:
    # Empty slots are skipped: no padding is stored.
    image = _bytes(table, row, column)
    if image is not None:
        id = table.column("id")[row].as_py()
        yield Picture(f"{path}, id {id}, slot {slot} (`{column}`)", id, slot, image, mask, split)
