"""Settings of the step that extracts tokens, and of the backbone that several steps load."""

from __future__ import annotations

from typing import Literal

from nearid.config.schema.backbones import Precision
from nearid.config.settings import Settings


class BackboneSettings(Settings):
    """An entry of the config's `backbones`, whose keys `nearid.config.schema.backbones` explains."""

    kind: str
    path: str
    revision: str
    precision: Precision
    batch_size: int
    compile: bool | None = None


class ExtractTokens(Settings):
    """What of a collection is extracted, and with what.

    Attributes:
        backbone: what computes the tokens.
        variants: of the images of each split (`nearid.config.variants`).
        shards: of the collection, which become one shard of tokens.
        augmentations: chances of what variants are drawn with, by their id.
        damaged_images: what a damaged image does; an error where it is not said.
    """

    backbone: BackboneSettings
    variants: dict[str, list[str]]
    shards: list[str]
    augmentations: dict[str, dict[str, float]] | None = None
    damaged_images: Literal["gap"] | None = None
