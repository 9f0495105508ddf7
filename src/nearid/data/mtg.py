"""The part-edit set (Mind-the-Glitch, docs/protocol.md 2): two views, each also with one part changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nearid.config.schema.dataset import RenderedData
from nearid.data.released import ReleasedTable
from nearid.data.schema import MTG, columns_of
from nearid.demo.part_edits import PartEdits
from nearid.errors import UserError
from nearid.io.progress import track
from nearid.io.tables import image_bytes, write_blocks
from nearid.io.workers import map_ordered
from nearid.layout import Layout

if TYPE_CHECKING:
    from nearid.config.settings.data import MakeMTG


def write_mtg(settings: MakeMTG, layout: Layout, split: str, workers: int = 1) -> None:
    """Write `data/mtg/<split>.parquet` with the released columns and an id.

    Args:
        settings: the data set and its seed.
        layout: paths of the results folder.
        split: `train` or `test`. Rendered ones share no identity with each other or with the positives.
        workers: processes that render.

    Raises:
        UserError: this kind of data set has no part edits, or the released set is not there.
    """
    options = settings.dataset.options
    if isinstance(options, RenderedData):
        count = options.mtg_train if split == "train" else options.mtg_test
        make = partial(PartEdits, options, settings.seed, split)
        rows = map_ordered(make, range(count), workers)
        blocks: Iterable[list[dict[str, Any]]] = [list(track(rows, f"mtg {split}", total=count))]
    elif path := getattr(options, "mtg", None):  # not every kind has this option
        blocks = _read_released(path, split)
    else:
        raise UserError(
            "select.benchmarks",
            f"mtg with dataset.kind {settings.dataset.kind!r}",
            "a kind that has part edits (rendered), or a folder of the released set in `dataset.<kind>.mtg`",
            "leave mtg out of select.benchmarks and of the mixes",
        )
    write_blocks(layout.mtg(split), (columns_of(block, MTG) for block in blocks), MTG)


def _read_released(folder: str, split: str) -> Iterator[list[dict[str, Any]]]:
    """The released rows, with their images still encoded; the id is the row's position."""
    names = [name for name in MTG.names if name != "id"]
    table = ReleasedTable(folder, split)
    place = 0
    for block in track(table.blocks(names), f"mtg {split}", total=-(-len(table) // 64)):
        yield [{"id": place + at} | {name: image_bytes(row[name]) for name in names} for at, row in enumerate(block)]
        place += len(block)
