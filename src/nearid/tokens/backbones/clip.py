"""CLIP's vision tower with its projection."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from nearid.config.settings.tokens import BackboneSettings
from nearid.tokens.pretrained import PretrainedVision


class Backbone(PretrainedVision):
    """A frozen CLIP: class and patch tokens before the last layer norm; its embedding is the projected image feature.

    Args:
        settings: as for `PretrainedVision`; the model is a `CLIPModel` or a `CLIPVisionModelWithProjection`.

    Raises:
        UserError: no such model, of another type, or weights missing or damaged.
    """

    prefix_tokens = 1

    def __init__(self, settings: BackboneSettings) -> None:
        super().__init__(settings, CLIPVisionModelWithProjection, ("clip", "clip_vision_model"), "a CLIP (`clip`)")

    def forward(self, pixels: Tensor) -> Tensor:
        """Class and patch tokens [images, 1 + patches, dim] of pixels on the device."""
        return self.model.vision_model(pixels).last_hidden_state

    @torch.no_grad()
    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, projection] of tokens [images, 1 + patches, dim]."""
        token = tokens[:, 0].to(self.device, self.model.dtype)
        return self.model.visual_projection(self.model.vision_model.post_layernorm(token))
