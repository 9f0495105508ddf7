"""Frozen image encoders and their tokens."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.base import ConfigBlock, Id, absent

Precision = Literal["float32", "float16", "bfloat16", "autocast_float16", "autocast_bfloat16"]


class Backbone(ConfigBlock):
    """A frozen image encoder."""

    display: str
    """Name shown in tables."""
    kind: Id
    """Module in nearid.tokens.backbones."""
    path: str
    """Model folder: local, or `resources/<download>`."""
    revision: str = ""
    """Commit of the weights; empty for a local folder."""
    precision: Precision = "float32"
    """Number format of the forward pass, weights included; `autocast_...` keeps float32 weights and lets torch
    choose the format by operation. All formats except float32 need a GPU."""
    compile: bool = absent()
    """Compile the forward pass (torch.compile): a minute or so at each start, for shards of many images; false when
    missing."""
    batch_size: int = Field(32, ge=1)
    """Images per forward pass."""


class Tokens(ConfigBlock):
    """How tokens are extracted, by every backbone."""

    damaged_images: Literal["error", "gap"] = "error"
    """What a damaged image or mask does: `error` ends its extraction and names it; `gap` leaves it out and records
    it in the shard; training treats it as an empty slot, and scores from its tokens are NaN."""
