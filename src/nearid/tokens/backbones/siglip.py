"""SigLIP and fixed-resolution SigLIP 2 vision models of transformers, from a local folder or the local hub cache."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import SiglipVisionModel

from nearid.config.settings.tokens import BackboneSettings
from nearid.tokens.pretrained import PretrainedVision


class Backbone(PretrainedVision):
    """A frozen SigLIP vision model: patch tokens after the last layer norm, pooled by its own attention head.

    Args:
        settings: as for `PretrainedVision`; the model is a `SiglipModel` or a `SiglipVisionModel`.

    Raises:
        UserError: no such model, not a fixed-resolution SigLIP, or weights missing or damaged.
    """

    map_head = True

    def __init__(self, settings: BackboneSettings) -> None:
        types = ("siglip", "siglip_vision_model")
        super().__init__(settings, SiglipVisionModel, types, "a fixed-resolution SigLIP (`siglip`)")
        if not self.config.vision_use_head:
            raise self._refuse("no weights for the pooling head", "all of the vision model")

    @property
    def token_shape(self) -> tuple[int, int]:
        """(tokens, dim) of one image."""
        return self.model.embeddings.num_patches, self.config.hidden_size

    def preprocess(self, images: Iterable[NDArray[np.uint8]]) -> Tensor:
        """Pixels [images, 3, size, size] of images [h, w, 3]; may run in any thread."""
        pixels = super().preprocess(images)
        expected = (len(pixels), 3, self.config.image_size, self.config.image_size)
        if pixels.shape != expected:
            raise self._refuse(f"a processor that gives {tuple(pixels.shape)}", f"pixels {expected} for the model")
        return pixels

    def forward(self, pixels: Tensor) -> Tensor:
        """Patch tokens [images, tokens, dim] after the last layer norm, of pixels on the device."""
        # The trunk alone: the model's `forward` would also run the pooling head.
        hidden = self.model.embeddings(pixels)
        hidden = self.model.encoder(inputs_embeds=hidden).last_hidden_state
        return self.model.post_layernorm(hidden)

    @torch.no_grad()
    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim] of patch tokens [images, tokens, dim]: its MAP head's output."""
        return self.model.head(tokens.to(self.device, self.model.dtype))

    def head_state(self) -> dict[str, Tensor]:
        """State dict of the model's `SiglipMultiheadAttentionPoolingHead`, float32 on the CPU."""
        return {name: value.to("cpu", torch.float32, copy=True) for name, value in self.model.head.state_dict().items()}
