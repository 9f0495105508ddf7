"""Folded MAP head against transformers' head, so400m shape: `python benchmarks/map_head.py [--batch 32]`.

Goals (performance.md, section 6): forward and backward >= 20 times faster, forward alone >= 25 times. One thread,
process time, interleaved; tokens float16, weights random and float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from timing import compare, describe_machine
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

from nearid.heads.map_head import MAPHead

CONFIG = SiglipVisionConfig(hidden_size=1152, intermediate_size=4304, num_attention_heads=16)


def main() -> None:
    """Print the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokens = torch.randn(arguments.batch, 729, CONFIG.hidden_size).half()
    wide = tokens.float()
    theirs = SiglipMultiheadAttentionPoolingHead(CONFIG)
    ours = MAPHead(CONFIG)
    ours.load_state_dict(theirs.state_dict())

    def step(head: nn.Module, batch: Tensor) -> None:
        head.zero_grad()
        head(batch).square().mean().backward()

    @torch.no_grad()
    def forward(head: nn.Module, batch: Tensor) -> None:
        head(batch)

    def ratio(work: Callable[[nn.Module, Tensor], None]) -> dict[str, object]:
        candidates = {"transformers": lambda: work(theirs, wide), "folded": lambda: work(ours, tokens)}
        return compare(candidates, arguments.rounds, time.process_time)

    result = {
        "batch": arguments.batch,
        "step": ratio(step),
        "forward": ratio(forward),
        "machine": describe_machine("torch", "transformers"),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
