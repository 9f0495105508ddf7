"""A frozen backbone as scorer: its own pooling head, or the mean of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nearid.errors import UserError
from nearid.scores.embeddings import embed_tokens
from nearid.scores.scorers import ImageKey
from nearid.tokens.backbones import Backbone, load_backbone

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from nearid.layout import Layout

READOUTS = ("map", "mean")


class Scorer:
    """Reads cached tokens by `readout`: `map`, the model's own pooled output (spec data.md 4.2), or `mean`.

    The mean over post-layernorm tokens is how the paper reads SigLIP2 on DreamBench++, and there only (4.6).
    """

    def __init__(self, settings: Mapping[str, Any], layout: Layout) -> None:
        self._settings, self._layout = settings, layout
        self._readout = settings["scorer"].get("readout", "map")
        if self._readout not in READOUTS:
            raise UserError(
                f"scorers.{settings['scorer_id']}.readout", self._readout, " or ".join(READOUTS), "mend the config"
            )

    def embed(self, collection: str, images: Sequence[ImageKey]) -> NDArray[np.float32]:
        """Unit vectors `[images, dim]` of the images' cached tokens."""
        return embed_tokens(self._read_out, self._settings, self._layout, collection, images)

    def _read_out(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1) if self._readout == "mean" else self._backbone.pooled(tokens)

    @cached_property
    def _backbone(self) -> Backbone:
        # Only when its own head is asked for: the mean of cached tokens needs no weights.
        return load_backbone(self._settings["backbone"])
