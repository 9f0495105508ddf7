"""DINOv2 vision models, with or without registers."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoModel

from nearid.config.settings.tokens import BackboneSettings
from nearid.tokens.pretrained import PretrainedVision


class Backbone(PretrainedVision):
    """A frozen DINOv2: class, register and patch tokens after the last layer norm; its embedding is the class token.

    Args:
        settings: as for `PretrainedVision`.

    Raises:
        UserError: no such model, of another type, or weights missing or damaged.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__(settings, AutoModel, ("dinov2", "dinov2_with_registers"), "a DINOv2 (`dinov2`)")
        self.prefix_tokens = 1 + getattr(self.config, "num_register_tokens", 0)

    def forward(self, pixels: Tensor) -> Tensor:
        """Class, register and patch tokens [images, tokens, dim] of pixels on the device."""
        return self.model(pixels).last_hidden_state

    @torch.no_grad()
    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim] of tokens: the class token, which is normalised already."""
        return tokens[:, 0]
