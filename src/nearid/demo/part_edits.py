"""The rendered part-edit set, in the columns of Mind-the-Glitch (docs/protocol.md 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nearid.demo.renderer import draw_edit, identity_from_seed, plans_of, render_edit, render_view
from nearid.io.images import encode_png
from nearid.io.randomness import keyed_rng

if TYPE_CHECKING:
    from nearid.config.schema.dataset import RenderedData


class PartEdits:
    """Renders samples of a split: two views of an identity, each also with one part changed.

    Args:
        options, seed: of the data set.
        split: `train` or `test`, which share no identity with each other or with the data set.
    """

    def __init__(self, options: RenderedData, seed: int, split: str) -> None:
        # A sample has two views, both edited, and no third.
        self._options = options.model_copy(update={"three_view_fraction": 0.0})
        self._seed, self._stream = seed, f"mtg_{split}"

    def __call__(self, sample: int) -> dict[str, Any]:
        """A row of the part-edit set, images as PNG."""
        instance = identity_from_seed(self._stream, self._seed, sample)
        size_px = self._options.size_px
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
