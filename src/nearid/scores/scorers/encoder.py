"""A frozen backbone as scorer: its own read-out, or the mean of its patch tokens."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from nearid.config.settings.scores import Encoder
from nearid.scores.embeddings import TokenEmbedder

if TYPE_CHECKING:
    from torch import Tensor

    from nearid.config.settings.scores import Score
    from nearid.heads.map_head import MAPHead
    from nearid.layout import Layout
    from nearid.tokens.store import TokenStore


class Scorer(TokenEmbedder):
    """Reads tokens by `readout`: `map`, the model's own embedding (docs/protocol.md 4.2), or `mean` over its patches.

    The mean over post-layernorm tokens is how the paper reads SigLIP2 on DreamBench++, and there only (4.6).
    """

    def __init__(self, settings: Score, layout: Layout) -> None:
        super().__init__(settings, layout)
        assert isinstance(settings.scorer, Encoder)
        self._readout = settings.scorer.readout or "map"

    def read_out(self, tokens: Tensor) -> Tensor:
        """Embeddings `[batch, dim]`."""
        if self._readout == "mean":
            return tokens[:, self._prefix :].float().mean(dim=1)
        if self._map_head is not None:
            return self._map_head(tokens)
        return self.backbone.pooled(tokens)

    def check_store(self, store: TokenStore) -> None:
        """Refuse tokens of another model, on which this model's head would give meaningless numbers."""
        if self._readout == "map":
            store.check_backbone(self.backbone)

    @cached_property
    def _prefix(self) -> int:
        # A SigLIP's tokens are all patches, so that their mean needs no weights.
        return 0 if self.backbone_settings.kind == "siglip" else self.backbone.prefix_tokens

    @cached_property
    def _map_head(self) -> MAPHead | None:
        # The model's own attention pooling, folded: some 30 times faster on a CPU, and in float32 at any precision.
        if not self.backbone.map_head:
            return None
        from nearid.heads.map_head import MAPHead

        head = MAPHead(self.backbone.config)
        head.load_state_dict(self.backbone.head_state())
        return head.eval().requires_grad_(False).to(self.device)
