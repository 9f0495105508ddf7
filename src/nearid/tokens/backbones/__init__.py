"""Frozen image encoders, one module per kind: `Backbone` in `nearid.tokens.backbones.<kind>`."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from nearid.config.settings.tokens import BackboneSettings


class Backbone(Protocol):
    """A frozen image encoder; built from `BackboneSettings`.

    The first `prefix_tokens` tokens of an image are not patches. A kind with `map_head` pools its tokens by a
    `SiglipMultiheadAttentionPoolingHead`, and its `config` is a `SiglipVisionConfig`: heads can be trained on it.
    """

    config: Any
    batch_size: int
    weights_hash: str
    preprocess_hash: str
    token_shape: tuple[int, int]
    prefix_tokens: int
    map_head: bool

    def preprocess(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """The input of `encode` for images [h, w, 3], in as few bytes as possible; may run in any thread."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Tokens [images, tokens, dim] of preprocessed pixels."""

    def tokens(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """Tokens [images, tokens, dim] of images [h, w, 3]: both steps in one."""

    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim], computed from its tokens."""

    def head_state(self) -> dict[str, Tensor]:
        """State dict of the model's own pooling head, float32; UserError without `map_head`."""


def load_backbone(settings: BackboneSettings) -> Backbone:
    """The backbone of kind `settings.kind`."""
    return import_module(f"{__name__}.{settings.kind}").Backbone(settings)
