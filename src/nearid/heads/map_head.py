"""SigLIP's attention-pooling head, folded around its one fixed query (spec performance.md, section 1).

The head's only query is a learned probe, so `softmax(q K^T) V` needs neither keys nor values: the probe is folded into
the key projection, raw tokens are pooled, and the pooled vectors are projected. The result is the same function with
about 40 times fewer operations; parameters keep transformers' layout, so that state dicts interchange both ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

# One block of tokens in the dtype of the maths stays about this large, so that a CPU reads it twice from its cache.
BLOCK_BYTES = 1 << 22


class MAPHead(SiglipMultiheadAttentionPoolingHead):
    """Multihead attention pooling of tokens [batch, tokens, dim] into embeddings [batch, dim].

    Takes and gives the state dict of transformers' `SiglipMultiheadAttentionPoolingHead` unchanged. The key bias has a
    gradient of exactly zero, as in theory (softmax ignores a constant); transformers' own is rounding noise.

    Several heads over the same tokens may share one pass:
    `pooled = pool(tokens, torch.cat([head.queries() for head in heads]))`, then `head.read_out(part)` for each head's
    part of `pooled`.
    """

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__(config)
        self.heads = config.num_attention_heads

    def forward(self, hidden_state: Tensor) -> Tensor:
        """Embeddings [batch, dim] of tokens [batch, tokens, dim] in any floating dtype; maths in the weights' dtype."""
        return self.read_out(pool(hidden_state, self.queries()))

    def queries(self) -> Tensor:
        """The probe folded into the key projection and scaled: [heads, dim]; logits are `tokens @ queries^T`."""
        dim = self.probe.shape[-1]
        query_weight, key_weight, _ = self.attention.in_proj_weight.chunk(3)
        query = functional.linear(self.probe[0], query_weight, self.attention.in_proj_bias[:dim])
        query = query.view(self.heads, 1, -1) / math.sqrt(dim // self.heads)
        return (query @ key_weight.view(self.heads, -1, dim))[:, 0]

    def read_out(self, pooled: Tensor) -> Tensor:
        """Embeddings [batch, dim] of pooled tokens [batch, heads, dim]: values, output projection, residual MLP."""
        dim = self.probe.shape[-1]
        value_weight = self.attention.in_proj_weight[2 * dim :].view(self.heads, -1, dim)
        values = (pooled.transpose(0, 1) @ value_weight.mT).transpose(0, 1).flatten(1)
        hidden = self.attention.out_proj(values + self.attention.in_proj_bias[2 * dim :])
        return hidden + self.mlp(self.layernorm(hidden))

    @torch.no_grad()
    def attend(self, tokens: Tensor) -> Tensor:
        """Attention of each head over the tokens, [batch, heads, tokens], summing to one; without gradient."""
        queries = self.queries()
        return torch.cat([_attend(block, queries.T).mT for _, block in _blocks(tokens, queries.dtype)])


def pool(tokens: Tensor, queries: Tensor) -> Tensor:
    """Pool raw tokens [batch, tokens, dim] by queries [heads, dim]: softmax-weighted means [batch, heads, dim].

    Args:
        tokens: float16 or wider; converted block by block, never as a whole.
        queries: folded queries of one head or of many; their dtype is that of the maths and of the result.
    """
    return _Pool.apply(tokens, queries)


class _Pool(torch.autograd.Function):
    # Written out because autograd would keep a float32 copy of all tokens and compute their gradient in three passes.

    # Tokens come first throughout and the queries as a contiguous [dim, heads]: a third faster than heads first.

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, queries: Tensor) -> Tensor:
        across = queries.T.contiguous()
        attention = queries.new_empty(*tokens.shape[:2], queries.shape[0])
        pooled = queries.new_empty(tokens.shape[0], *queries.shape)
        for rows, block in _blocks(tokens, queries.dtype):
            attention[rows] = _attend(block, across)
            torch.matmul(attention[rows].mT, block, out=pooled[rows])
        ctx.save_for_backward(tokens, queries, attention, pooled)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        tokens, queries, attention, pooled = ctx.saved_tensors
        to_tokens = torch.empty_like(tokens) if ctx.needs_input_grad[0] else None
        to_queries = torch.zeros_like(queries)
        # sum_t A_t (dP . x_t) = dP . P: the softmax's own term comes free.
        free = (gradient * pooled).sum(-1)[:, None]
        across = gradient.mT.contiguous()
        for rows, block in _blocks(tokens, queries.dtype):
            logits = (block @ across[rows]).sub_(free[rows]).mul_(attention[rows])
            to_queries.addmm_(logits.flatten(0, 1).T, block.flatten(0, 1))
            if to_tokens is not None:
                to_tokens[rows] = attention[rows] @ gradient[rows] + logits @ queries
        return to_tokens, to_queries


def _attend(block: Tensor, across: Tensor) -> Tensor:
    # [batch, tokens, heads] of tokens [batch, tokens, dim] and queries [dim, heads], in one matrix product.
    return torch.softmax(block @ across, dim=1)


def _blocks(tokens: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    # On a CPU a few images at a time, which stay in its cache; elsewhere all at once. The buffer is used again, since
    # fresh pages cost more than the conversion itself.
    count, length, dim = tokens.shape
    step = max(1, BLOCK_BYTES // (length * dim * dtype.itemsize)) if tokens.device.type == "cpu" else max(1, count)
    buffer = None if tokens.dtype == dtype else tokens.new_empty((min(step, count), length, dim), dtype=dtype)
    for start in range(0, count, step):
        block = tokens[start : start + step]
        yield slice(start, start + step), block if buffer is None else buffer[: len(block)].copy_(block)
