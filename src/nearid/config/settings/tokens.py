"""Settings of the step that extracts tokens, and of the backbone that several steps load."""

from __future__ import annotations

from typing import Literal

from nearid.config.schema.backbones import Precision
from nearid.config.settings import Settings


class BackboneSettings(Settings):
    """An entry of the config's `backbones`; `nearid.config.schema.backbones` explains the keys."""

    kind: str
    path: str
    revision: str
    precision: Precision
    batch_size: int
    compile: bool | None = None


class ExtractTokens(Settings):
    """What is extracted of a collection, and by which backbone.

    Attributes:
        backbone: what computes the tokens.
        variants: of the images of each split (`nearid.config.variants`).
        shards: the collection's shards that become one shard of tokens.
        augmentations: the probabilities that variants are drawn with, by their id.
        damaged_images: `gap` leaves a damaged image out; by default it is an error.
    """

    backbone: BackboneSettings
    variants: dict[str, list[str]]
    shards: list[str]
    augmentations: dict[str, dict[str, float]] | None = None
    damaged_images: Literal["gap"] | None = None
