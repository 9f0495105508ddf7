"""What a judge on this machine has room for: pairs side by side, and layers that wait outside the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

WITHOUT_GPU = 6
"""Pairs side by side on a CPU."""
MOST = 32
"""Pairs side by side at most: beyond these a GPU computes as long as it reads weights."""
SPARE = 2 * 10**9
"""Bytes of a GPU for CUDA itself and for gaps between blocks."""
GROUP = 0.2
"""Of the weights, what stays on the GPU with `offload: group`."""
PAIR = 5 * 10**8
"""Bytes that are kept free for a pair with `offload: model`, before the first question is known."""


@dataclass(frozen=True)
class Room:
    """A judge's place.

    Attributes:
        card: bytes of the GPU; 0 without one.
        weights: bytes of the weight files.
        offload: `none`, `model` or `group`.
        asked: pairs side by side that there must be room for.
    """

    card: int
    weights: int
    offload: str = "none"
    asked: int = WITHOUT_GPU

    @property
    def weights_on_card(self) -> int:
        """Bytes of weights that stay on the GPU."""
        if self.offload == "none":
            return self.weights
        if self.offload == "group":
            return int(GROUP * self.weights)
        return min(self.weights, max(0, self.card - SPARE - self.asked * PAIR - self._layer))

    @property
    def _layer(self) -> int:
        # One that waited comes in beside those that stay.
        return self.weights // 32

    def placement(self, device: torch.device) -> dict[str, Any]:
        """Arguments of `from_pretrained` that bring the weights where they are to be.

        On the GPU without a copy on the host: laying out the experts of 30B would take 62 GB of its memory.
        """
        if not self.card:
            return {"device_map": None}
        if self.offload == "none":
            return {"device_map": {"": device}}
        # The rest waits in the machine's memory, which a cluster's request limits and not we.
        return {"device_map": "auto", "max_memory": {device.index or 0: self.weights_on_card, "cpu": 2**50}}

    def pairs(self, longest: int) -> int:
        """How many pairs fit side by side whose longest takes so many bytes; one at least, and it is tried."""
        if not self.card:
            return WITHOUT_GPU
        coming = self._layer if self.weights_on_card < self.weights else 0
        free = self.card - SPARE - self.weights_on_card - coming
        return min(MOST, max(1, free // longest))


def pair_bytes(config: Any, prompt: int, answer: int) -> int:
    """Bytes that a pair takes on the GPU beside the weights, in half precision.

    Keys and values of every layer stay. Of what passes through, the widest counts: a layer's with its MLP, or the
    encoder's of both images, whose patches are four to a token; and a mixture copies the experts of each token that it
    generates.

    Args:
        config: of Qwen3-VL.
        prompt: tokens of the pair's question, those of its images among them.
        answer: tokens that are generated at most.
    """
    text, vision = config.text_config, config.vision_config
    kept = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * (prompt + answer)
    experts = getattr(text, "num_experts_per_tok", 0)
    inner = experts * text.moe_intermediate_size if experts else text.intermediate_size
    layer = prompt * (8 * text.hidden_size + 3 * inner)
    encoder = prompt * vision.spatial_merge_size**2 * (8 * vision.hidden_size + 2 * vision.intermediate_size)
    copied = 3 * text.hidden_size * inner if experts else 0
    return 2 * int(kept + max(layer, encoder, copied))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files in `folder`."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def card_bytes(device: torch.device) -> int:
    """Bytes of the GPU in all, not what is free now: what is computed side by side must not differ by chance."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0
