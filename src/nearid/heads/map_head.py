"""SigLIP's attention-pooling head, with its one fixed query folded into the key projection (docs/performance.md 1).

The head's only query is a learned probe, so `softmax(q K^T) V` needs neither keys nor values: the probe is folded into
the key projection, raw tokens are pooled, and the pooled vectors are projected. This is the same function with about 40
times fewer operations; parameters keep transformers' layout, so that state dicts interchange both ways.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipMultiheadAttentionPoolingHead

# About the size of a block of tokens in the dtype of the maths: a CPU's second read of it comes from the cache.
BLOCK_BYTES = 1 << 22
# On a GPU: small compared with a batch's tokens, but large enough that kernels take longer to run than to launch.
DEVICE_BLOCK_BYTES = 1 << 26
# Dekker's splitter: leaves the 11 leading bits of a float32, which are all that tensor cores use.
SPLITTER = float((1 << 13) + 1)
# Bytes to which torch aligns what it allocates.
ALIGNMENT = 64


class MAPHead(SiglipMultiheadAttentionPoolingHead):
    """Multihead attention pooling of tokens [batch, tokens, dim] into embeddings [batch, dim].

    Its state dict is that of transformers' `SiglipMultiheadAttentionPoolingHead`. The key bias has a
    gradient of exactly zero, as in theory (softmax ignores a constant); transformers' own is rounding noise.

    Several heads over the same tokens may share one pass: `pool_each(tokens, [head.queries() for head in heads])`, then
    `head.read_out(pooled)` for each.
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
        project = _products(tokens, queries.dtype).project
        parts = [torch.softmax(project(block, queries.T), dim=1).mT for _, block in _blocks(tokens, queries.dtype)]
        return torch.cat(parts)


def pool(tokens: Tensor, queries: Tensor) -> Tensor:
    """Pool raw tokens [batch, tokens, dim] by queries [heads, dim]: softmax-weighted means [batch, heads, dim].

    Args:
        tokens: float16 or wider; converted block by block, never as a whole.
        queries: folded queries of one pooling head; their dtype is that of the maths and of the result.
    """
    (pooled,) = pool_each(tokens, [queries])
    return pooled


def pool_each(tokens: Tensor, queries: Sequence[Tensor]) -> list[Tensor]:
    """`pool` by the queries of several pooling heads in one pass over the tokens; one result per head.

    On a CPU each head has matrix products of its own, over a block of tokens that stays in the cache, so its result has
    the same bytes whichever heads share the pass. One wide product for all would be faster by a quarter, but BLAS
    libraries sum in an order that depends on the width. On other devices there is one wide product, and results are
    equal up to rounding; tensor cores multiply tokens stored in half precision without loss (`SplitProducts`).
    """
    if in_cache(tokens):
        return list(_Pool.apply(tokens, *queries))
    (wide,) = _Pool.apply(tokens, torch.cat(list(queries)))
    return list(wide.split([len(own) for own in queries], dim=1))


class _Pool(torch.autograd.Function):
    # By hand, because autograd would keep a float32 copy of all tokens and compute their gradient in three passes.

    # Tokens come first throughout and the queries as a contiguous [dim, heads]: a third faster than heads first.

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, *queries: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        products = _products(tokens, queries[0].dtype)
        across = [own.T.contiguous() for own in queries]
        attention = [own.new_empty(*tokens.shape[:2], len(own)) for own in queries]
        pooled = [own.new_empty(len(tokens), *own.shape) for own in queries]
        for rows, block in _blocks(tokens, queries[0].dtype):
            for number, own in enumerate(across):
                attention[number][rows] = torch.softmax(products.project(block, own), dim=1)
                products.sum_up(attention[number][rows], block, out=pooled[number][rows])
        ctx.save_for_backward(tokens, *queries, *attention, *pooled)
        return tuple(pooled)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tokens, *saved = ctx.saved_tensors
        count = len(gradients)
        to_tokens = torch.zeros_like(tokens) if ctx.needs_input_grad[0] else None
        heads = [
            (_HeadGradient(gradient, *saved[number::count]), number)
            for number, gradient in enumerate(gradients)
            if gradient is not None
        ]
        to_queries: list[Tensor | None] = [None] * count
        for head, number in heads:
            to_queries[number] = head.to_queries
        products = _products(tokens, saved[0].dtype)
        for rows, block in _blocks(tokens, saved[0].dtype) if heads else ():
            for head, _ in heads:
                head.add(products, rows, block, None if to_tokens is None else to_tokens[rows])
        return to_tokens, *to_queries


class _HeadGradient:
    # One head's part of the backward pass, block by block.

    def __init__(self, gradient: Tensor, queries: Tensor, attention: Tensor, pooled: Tensor) -> None:
        self.to_queries = torch.zeros_like(queries)
        self._gradient, self._queries, self._attention = gradient, queries, attention
        # sum_t A_t (dP . x_t) = dP . P, so the softmax's own term needs no pass over the tokens.
        self._free = (gradient * pooled).sum(-1)[:, None]
        self._across = gradient.mT.contiguous()

    def add(self, products: Products, rows: slice, block: Tensor, to_tokens: Tensor | None) -> None:
        attention = self._attention[rows]
        logits = products.project(block, self._across[rows]).sub_(self._free[rows]).mul_(attention)
        products.add_up(logits.flatten(0, 1), block.flatten(0, 1), self.to_queries)
        if to_tokens is not None:
            to_tokens += attention @ self._gradient[rows] + logits @ self._queries


class Products:
    """Matrix products of a block of tokens, in the precision of the maths."""

    def project(self, block: Tensor, across: Tensor) -> Tensor:
        """[..., tokens, heads] of tokens [..., tokens, dim] and [..., dim, heads]."""
        return block @ across

    def sum_up(self, weights: Tensor, block: Tensor, out: Tensor) -> None:
        """Sums [..., heads, dim] of tokens [..., tokens, dim], weighted by [..., tokens, heads], into `out`."""
        torch.matmul(weights.mT, block, out=out)

    def add_up(self, weights: Tensor, block: Tensor, out: Tensor) -> None:
        """As `sum_up` of a single matrix, added to `out`."""
        out.addmm_(weights.T, block)


class SplitProducts(Products):
    """The same products on tensor cores (TF32), which are eight times as fast but use only 11 bits of each factor.

    Tokens stored in half precision have no more bits. The other factor is split into its 11 leading bits and the rest,
    side by side in one product. The relative loss is below 2^-22, as in float32 (docs/performance.md 1).
    """

    def project(self, block: Tensor, across: Tensor) -> Tensor:
        """See `Products`."""
        leading, rest = self.multiply(block, torch.cat(split(across), dim=-1)).chunk(2, dim=-1)
        return leading + rest

    def sum_up(self, weights: Tensor, block: Tensor, out: Tensor) -> None:
        """See `Products`."""
        leading, rest = self.multiply(torch.cat(split(weights), dim=-1).mT, block).chunk(2, dim=-2)
        torch.add(leading, rest, out=out)

    def add_up(self, weights: Tensor, block: Tensor, out: Tensor) -> None:
        """See `Products`."""
        leading, rest = self.multiply(torch.cat(split(weights), dim=-1).mT, block).chunk(2, dim=-2)
        out.add_(leading).add_(rest)

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """The product, on tensor cores."""
        matmul = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
        try:
            return left @ right
        finally:
            matmul.fp32_precision = before


def split(values: Tensor) -> tuple[Tensor, Tensor]:
    """The 11 leading bits of float32 `values`, and the rest; their sum is exactly `values`."""
    scaled = values * SPLITTER
    leading = scaled - (scaled - values)
    return leading, values - leading


def _products(tokens: Tensor, dtype: torch.dtype) -> Products:
    half = tokens.dtype in (torch.float16, torch.bfloat16) and dtype == torch.float32
    return SplitProducts() if half and has_tensor_cores(tokens.device) else Products()


def in_cache(tokens: Tensor) -> bool:
    """Whether `tokens` are pooled head by head, in blocks that fit into a CPU's cache."""
    return tokens.device.type == "cpu"


def has_tensor_cores(device: torch.device) -> bool:
    """Whether products on `device` may be TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def _blocks(tokens: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    # A few images at a time: they stay in a CPU's cache, and on a GPU there is no second copy of all tokens. The buffer
    # is reused, since new pages would cost more than the conversion itself.
    count, length, dim = tokens.shape
    size = BLOCK_BYTES if in_cache(tokens) else DEVICE_BLOCK_BYTES
    step = max(1, size // (length * dim * dtype.itemsize))
    # MKL's order of summation depends on alignment, so blocks are aligned like torch's own tensors.
    ready = tokens.dtype == dtype and tokens.data_ptr() % ALIGNMENT == 0
    buffer = None if ready else tokens.new_empty((min(step, count), length, dim), dtype=dtype)
    for start in range(0, count, step):
        block = tokens[start : start + step]
        yield slice(start, start + step), block if buffer is None else buffer[: len(block)].copy_(block)
