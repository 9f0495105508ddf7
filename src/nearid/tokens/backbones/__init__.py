"""Frozen image encoders, one module per kind: `Backbone` in `nearid.tokens.backbones.<kind>`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import SiglipVisionConfig


class Backbone(Protocol):
    """What a kind of backbone offers; built from one entry of `backbones` in the config."""

    config: SiglipVisionConfig
    batch_size: int
    weights_hash: str
    preprocess_hash: str
    token_shape: tuple[int, int]

    def preprocess(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """The model's input for images [h, w, 3]; may run in any thread."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Patch tokens [images, tokens, dim] after the last layer norm, of preprocessed pixels."""

    def tokens(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Patch tokens [images, tokens, dim] of images [h, w, 3]: both steps in one."""

    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim] of its patch tokens."""

    def head_state(self) -> dict[str, Tensor]:
        """State dict of the model's own pooling head, float32."""


def load_backbone(settings: Mapping[str, Any]) -> Backbone:
    """The backbone that `settings`, an entry of `backbones` in the config, names by its `kind`."""
    return import_module(f"{__name__}.{settings['kind']}").Backbone(settings)
