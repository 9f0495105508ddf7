"""Folded MAP head against transformers' head, so400m shape: `python benchmarks/map_head.py [--batch 32]`.

Goals: forward and backward >= 25 times faster, forward alone >= 30 times, from a batch of 32 on. One thread, process
time, interleaved; tokens float16, weights random and float32. The bound is arithmetic: the folded operations at the
rate that this machine reaches on the unfolded head's own large matrix product.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import compare, describe_machine, keep_memory
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.heads.map_head import MAPHead

CONFIG = SiglipVisionConfig(hidden_size=1152, intermediate_size=4304, num_attention_heads=16)
TOKENS = 729
# Per image: logits and pooling, each once per direction; values, output projection and MLP, backward twice.
POOLING = 2 * 2 * CONFIG.num_attention_heads * TOKENS * CONFIG.hidden_size
TAIL = 2 * (2 * CONFIG.hidden_size**2 + 2 * CONFIG.hidden_size * CONFIG.intermediate_size)
OPERATIONS = {"forward": POOLING + TAIL, "step": 2 * POOLING + 3 * TAIL}


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64, 256])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    theirs = SiglipMultiheadAttentionPoolingHead(CONFIG)
    ours = MAPHead(CONFIG)
    ours.load_state_dict(theirs.state_dict())
    result = {
        "batches": {str(batch): measure(theirs, ours, batch, arguments.rounds) for batch in arguments.batch},
        "largest_float64_difference": differ(),
        "machine": describe_machine("torch", "transformers"),
    }
    print(json.dumps(result, indent=2))


def measure(theirs: nn.Module, ours: nn.Module, batch: int, rounds: int) -> dict[str, object]:
    """Seconds and ratios of a step and of a forward pass, and how near they come to the arithmetic bound."""
    tokens = torch.randn(batch, TOKENS, CONFIG.hidden_size).half()
    wide = tokens.float()
    weight = torch.randn(CONFIG.hidden_size, CONFIG.hidden_size)

    def step(head: nn.Module, tokens: Tensor) -> None:
        head.zero_grad()
        head(tokens).square().mean().backward()

    @torch.no_grad()
    def forward(head: nn.Module, tokens: Tensor) -> None:
        head(tokens)

    def compare_on(work: Callable[[nn.Module, Tensor], None]) -> dict[str, Any]:
        candidates = {
            "transformers": lambda: work(theirs, wide),
            "folded": lambda: work(ours, tokens),
            "product": lambda: wide @ weight,
        }
        found = compare(candidates, rounds, time.process_time)
        per_second = 2 * weight.numel() * TOKENS * batch / found.pop("product")["seconds"]["median"]
        bound = batch * OPERATIONS[work.__name__] / per_second
        return found | {"share_of_arithmetic_bound": round(bound / found["folded"]["seconds"]["median"], 2)}

    return {"step": compare_on(step), "forward": compare_on(forward)}


def differ() -> float:
    """Largest difference in float64 between both heads, over outputs and gradients, relative to the largest entry."""
    theirs = SiglipMultiheadAttentionPoolingHead(CONFIG).double()
    ours = MAPHead(CONFIG).double()
    ours.load_state_dict(theirs.state_dict())
    tokens = torch.randn(4, TOKENS, CONFIG.hidden_size).half().double()
    outputs = [head(tokens) for head in (theirs, ours)]
    for output in outputs:
        output.square().sum().backward()
    outputs = [output.detach() for output in outputs]
    dim = CONFIG.hidden_size
    for head in (theirs, ours):
        head.attention.in_proj_bias.grad[dim : 2 * dim] = 0  # the key bias: rounding noise there, zero here
    pairs = [outputs, *zip(*([p.grad for p in head.parameters()] for head in (theirs, ours)), strict=True)]
    return max(float((one - other).abs().max() / one.abs().max()) for one, other in pairs)


if __name__ == "__main__":
    main()
