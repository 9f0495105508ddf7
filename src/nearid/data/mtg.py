"""The part-edit set (Mind-the-Glitch, docs/protocol.md 2): two views, each also with a part changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from nearid.data.released import ReleasedTable
from nearid.data.schema import MTG, columns_of
from nearid.demo.renderer import draw_edit, identity_from_seed, plans_of, render_edit, render_view
from nearid.errors import UserError
from nearid.io.images import encode_png
from nearid.io.progress import track
from nearid.io.randomness import keyed_rng
from nearid.io.tables import image_bytes, write_blocks
from nearid.io.workers import map_ordered
from nearid.layout import Layout


def write_mtg(settings: Mapping[str, Any], layout: Layout, split: str, workers: int = 1) -> None:
    """Write `data/mtg/<split>.parquet` with the released columns and an id.

    Args:
        settings: `{seed, kind, options}`; `options` are those of `dataset.<kind>`.
        layout: paths of the results folder.
        split: `train` or `test`; their identities are other ones, and none is an identity of the positives.
        workers: processes that render.

    Raises:
        UserError: this kind of data set has no part edits, or the released set is not there.
    """
    if settings["kind"] == "rendered":
        count = settings["options"][f"mtg_{split}"]
        make = partial(_Renderer, dict(settings["options"]), settings["seed"], split)
        rows = map_ordered(make, range(count), workers)
        blocks: Iterable[list[dict[str, Any]]] = [list(track(rows, f"mtg {split}", total=count))]
    elif settings["options"].get("mtg"):
        blocks = _read_released(settings["options"]["mtg"], split)
    else:
        raise UserError(
            "select.benchmarks",
            f"mtg with dataset.kind {settings['kind']!r}",
            "a kind that has part edits (rendered), or a folder of the released set in `dataset.<kind>.mtg`",
            "leave mtg out of select.benchmarks and of the mixes",
        )
    write_blocks(layout.mtg(split), (columns_of(block, MTG) for block in blocks), MTG)


def _read_released(folder: str, split: str) -> Iterator[list[dict[str, Any]]]:
    """The released rows, images as they were encoded; the id is the row's place."""
    names = [name for name in MTG.names if name != "id"]
    table = ReleasedTable(folder, split)
    place = 0
    for block in track(table.blocks(names), f"mtg {split}", total=-(-len(table) // 64)):
        yield [{"id": place + at} | {name: image_bytes(row[name]) for name in names} for at, row in enumerate(block)]
        place += len(block)


class _Renderer:
    """Renders one sample as a row."""

    def __init__(self, options: Mapping[str, Any], seed: int, split: str) -> None:
        # Both views of a sample are edited; it has no third.
        self._options = {**options, "three_view_fraction": 0.0}
        self._seed, self._stream = seed, f"mtg_{split}"

    def __call__(self, sample: int) -> dict[str, Any]:
        instance = identity_from_seed(self._stream, self._seed, sample)
        size_px = self._options["size_px"]
        row: dict[str, Any] = {"id": sample}
        for number, plan in enumerate(plans_of(self._stream, self._seed, sample, self._options), start=1):
            # Each view has its own edit, as in the released set.
            edit = draw_edit(instance, keyed_rng("edit", self._stream, self._seed, sample, number))
            original, mask = render_view(instance, plan, size_px)
            edited, part = render_edit(instance, edit, plan, size_px)
            row |= {
                f"image_{number}_original": encode_png(original),
                f"image_{number}_inpainted": encode_png(edited),
                f"image_{number}_object_mask": encode_png(mask),
                f"image_{number}_part_mask": encode_png(part & mask),
            }
        return row
