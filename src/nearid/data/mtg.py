"""The part-edit set (Mind-the-Glitch, spec data.md section 2): two views, each also with a part changed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from nearid.data.rendered import draw_edit, identity_from_seed, render_edit, render_view, view_plan
from nearid.data.schema import MTG, columns_of
from nearid.errors import UserError
from nearid.io.images import encode_png
from nearid.io.progress import track
from nearid.io.randomness import keyed_rng
from nearid.io.tables import write_table
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
        UserError: this kind of data set has no part edits.
    """
    if settings["kind"] != "rendered":
        raise UserError(
            "select.benchmarks",
            f"mtg with dataset.kind {settings['kind']!r}",
            "a kind that has part edits: rendered",
            "leave mtg out of select.benchmarks and of the mixes",
        )
    count = settings["options"][f"mtg_{split}"]
    rows = map_ordered(partial(_Renderer, dict(settings["options"]), settings["seed"], split), range(count), workers)
    finished = list(track(rows, f"mtg {split}", total=count))
    write_table(layout.mtg(split), columns_of(finished, MTG), MTG)


class _Renderer:
    """Renders one sample as a row."""

    def __init__(self, options: Mapping[str, Any], seed: int, split: str) -> None:
        self._options, self._seed, self._stream = options, seed, f"mtg_{split}"

    def __call__(self, sample: int) -> dict[str, Any]:
        instance = identity_from_seed(self._stream, self._seed, sample)
        size_px = self._options["size_px"]
        row: dict[str, Any] = {"id": sample}
        for number, plan in enumerate(view_plan(self._stream, self._seed, sample, 0.0), start=1):
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
