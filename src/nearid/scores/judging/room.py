"""Memory of a judge on this machine: how many pairs fit into a batch, and which weights stay on the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

WITHOUT_GPU = 6
"""Pairs in a batch on a CPU."""
MOST = 32
"""Pairs in a batch at most: with more, a GPU no longer gains, since computing takes as long as reading weights."""
SPARE = 2 * 10**9
"""Bytes of a GPU that are reserved for CUDA itself and for fragmentation."""
GROUP = 0.2
"""Fraction of the weights that stays on the GPU with `offload: group`."""
PAIR = 5 * 10**8
"""Bytes reserved for a pair with `offload: model`, before the first question is known."""


@dataclass(frozen=True)
class Room:
    """The memory that a judge has.

    Attributes:
        card: bytes of the GPU; 0 without one.
        weights: bytes of the weight files.
        offload: `none`, `model` or `group`.
        asked: number of pairs that must fit into a batch.
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
        # An offloaded layer is loaded beside those that stay.
        return self.weights // 32

    def placement(self, device: torch.device) -> dict[str, Any]:
        """Arguments of `from_pretrained` that place the weights.

        Weights go to the GPU without a copy on the host, where laying out the experts of 30B would take 62 GB.
        """
        if not self.card:
            return {"device_map": None}
        if self.offload == "none":
            return {"device_map": {"": device}}
        # The rest stays in host memory, which is limited by the cluster's request, not by us.
        return {"device_map": "auto", "max_memory": {device.index or 0: self.weights_on_card, "cpu": 2**50}}

    def pairs(self, longest: int) -> int:
        """How many pairs of at most `longest` bytes fit into a batch; at least one, even if it may not fit."""
        if not self.card:
            return WITHOUT_GPU
        coming = self._layer if self.weights_on_card < self.weights else 0
        free = self.card - SPARE - self.weights_on_card - coming
        return min(MOST, max(1, free // longest))


def pair_bytes(config: Any, prompt: int, answer: int) -> int:
    """Bytes that a pair takes on the GPU besides the weights, in half precision.

    Keys and values of all layers are kept. Of what is temporary, the largest counts: activations of a layer with its
    MLP; those of the vision encoder for both images, with four patches per token; or, in a mixture of experts, copies
    of the experts of each generated token.

    Args:
        config: of Qwen3-VL.
        prompt: number of tokens of the question, with those of its images.
        answer: the most tokens that are generated.
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
    """Total bytes of the GPU, not those that are free now: batch sizes must not differ by chance."""
    return int(torch.cuda.get_device_properties(device).total_memory) if device.type == "cuda" else 0
