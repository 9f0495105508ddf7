"""What fewer bytes per token would cost: the error of the backbone's own embedding, measured on a run's tokens.

Shards are float16. Other formats are not offered until their error on real tokens is known (docs/performance.md 2): it
depends on outlier channels, which only real weights have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from nearid.tokens.store import TokenStore

if TYPE_CHECKING:
    from nearid.tokens.backbones import Backbone


@dataclass(frozen=True)
class Format:
    """Errors of a number format.

    Attributes:
        name: of the format.
        saved: fraction of float16's bytes that it saves.
        error, worst_error: relative error of an embedding: median and maximum over images.
        worst_cosine: largest 1 - cosine of an embedding and that of the float16 tokens.
    """

    name: str
    saved: float
    error: float
    worst_error: float
    worst_cosine: float


def measure_formats(backbone: Backbone, store: TokenStore, images: int = 128) -> list[Format]:
    """Errors of each format against float16, for the embeddings of `images` evenly spaced images.

    Raises:
        UserError: the tokens are those of another backbone.
    """
    store.check_backbone(backbone)
    chosen = np.unique(np.linspace(0, len(store) - 1, images).astype(int))
    tokens = torch.from_numpy(store.read(chosen)).float()
    mean, deviation = tokens.mean((0, 1)), tokens.std((0, 1)).clamp(min=1e-6)
    # int8 also stores a scale of two bytes per token.
    eighth = 0.5 - 1 / tokens.shape[-1]
    formats: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {
        "bfloat16": (0.0, lambda of: of.bfloat16().float()),
        "int8": (eighth, round_to_bytes),
        "int8, channels standardised": (eighth, lambda of: round_to_bytes((of - mean) / deviation) * deviation + mean),
    }
    expected = _embed(backbone, tokens)
    return [
        _compare(name, saved, expected, _embed(backbone, change(tokens))) for name, (saved, change) in formats.items()
    ]


def round_to_bytes(tokens: Tensor) -> Tensor:
    """`tokens` [..., dim] rounded to int8, with a float16 scale per token, and converted back."""
    scale = (tokens.abs().amax(-1, keepdim=True) / 127).half().float().clamp(min=1e-7)
    return (tokens / scale).round().clamp(-127, 127) * scale


def format_formats(formats: list[Format]) -> str:
    """The formats as a table of text."""
    lines = [f"{'format':<30}{'saved':>8}{'error':>11}{'largest':>11}{'1 - cosine':>12}"]
    for row in formats:
        errors = f"{row.error:>11.1e}{row.worst_error:>11.1e}{row.worst_cosine:>12.1e}"
        lines.append(f"{row.name:<30}{row.saved:>8.0%}{errors}")
    return "\n".join(lines)


def _embed(backbone: Backbone, tokens: Tensor) -> Tensor:
    return torch.cat([backbone.pooled(block).float().cpu() for block in tokens.split(32)])


def _compare(name: str, saved: float, expected: Tensor, found: Tensor) -> Format:
    errors = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    cosines = torch.nn.functional.cosine_similarity(found.double(), expected.double(), dim=-1)
    return Format(name, saved, float(errors.median()), float(errors.max()), float((1 - cosines).max()))
