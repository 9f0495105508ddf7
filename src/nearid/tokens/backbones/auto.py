"""Any vision model that transformers can load, such as your own encoder by its path."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel

from nearid.config.settings.tokens import BackboneSettings
from nearid.tokens.pretrained import PretrainedVision


class Backbone(PretrainedVision):
    """A frozen model of any kind: its own embedding, followed by its tokens.

    A model's own embedding cannot be computed from its tokens in general, so it is stored in front of them; the
    narrower of the two is padded with zeros, which changes no cosine. Feature maps [channels, height, width] are read
    as tokens. Of a model with a text tower, the image tower is used. Without an embedding of its own, the class token
    serves as one or, if there is none, the mean of the tokens.

    Args:
        settings: as for `PretrainedVision`.

    Raises:
        UserError: no such model, one that does not take images alone, or weights missing or damaged; at the first
            image, a model whose embeddings are random (ViT-MAE masks patches at random), so not reproducible.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        self._repeats = False
        super().__init__(settings, AutoModel, (), "a vision model", optional=("pooler.",))
        self._vision = getattr(self.model, "vision_model", self.model)
        config = getattr(self.config, "vision_config", self.config)
        size, patch = getattr(config, "image_size", None), getattr(config, "patch_size", None)
        self._patches = (size // patch) ** 2 if isinstance(size, int) and isinstance(patch, int) else None

    @property
    def prefix_tokens(self) -> int:  # type: ignore[override]
        """Number of tokens that are not patches: the model's own embedding and, for example, a class token."""
        count = self.token_shape[0] - 1
        # Some models resize position embeddings: then the number of patches is not known, and all tokens count as such.
        return 1 + (count - self._patches if self._patches and 0 <= count - self._patches < 16 else 0)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """See `nearid.tokens.backbones.Backbone`."""
        if not self._repeats and len(pixels):
            # Noise, since a uniform image may hide randomness.
            noise = torch.randn(pixels[:1].shape, generator=torch.Generator().manual_seed(0))
            first, second = (super(Backbone, self).encode(noise) for _ in range(2))
            if first.shape != second.shape or not torch.allclose(first, second, rtol=1e-2, atol=1e-2, equal_nan=True):
                raise self._refuse(
                    f"{type(self.model).__name__}, which embeds one image in two ways: it draws while it embeds",
                    "a model that gives the same embedding each time",
                )
            self._repeats = True
        return super().encode(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Own embedding and tokens [images, 1 + tokens, dim] of pixels on the device."""
        try:
            output = self._vision(pixel_values=pixels)
            tokens = output.last_hidden_state
            own = self._embed(pixels, output)
        except (AttributeError, TypeError, ValueError) as error:
            raise self._refuse(
                f"{type(self.model).__name__}, which gives no tokens ({error})", "a vision model"
            ) from error
        if tokens.ndim == 4:
            tokens = tokens.flatten(2).mT
        if own is None:
            own = tokens[:, 0] if tokens.shape[1] - (self._patches or 0) == 1 else tokens.mean(1)
        parts = [own.flatten(1)[:, None], tokens]
        dim = max(part.shape[-1] for part in parts)
        return torch.cat([functional.pad(part, (0, dim - part.shape[-1])) for part in parts], dim=1)

    def _embed(self, pixels: Tensor, output: Any) -> Tensor | None:
        # Models with a text tower are used by their projection into the space shared with text.
        if hasattr(self.model, "get_image_features"):
            features = self.model.get_image_features(pixel_values=pixels)
            return features if isinstance(features, Tensor) else features.pooler_output
        # A pooler that the checkpoint has no weights for is random.
        return None if self.missing else getattr(output, "pooler_output", None)

    @torch.no_grad()
    def pooled(self, tokens: Tensor) -> Tensor:
        """The model's own embeddings [images, dim]."""
        return tokens[:, 0]
