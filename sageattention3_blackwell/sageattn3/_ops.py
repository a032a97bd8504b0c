"""The native operators, and their shapes for torch.compile, FakeTensor and meta tensors.

Importing this module registers the fakes; the library must have been loaded. No operator changes or aliases its inputs.
"""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor


def _sizes(x: Tensor, layout: int) -> Tuple[int, int, int, int, int]:
    """Batch, heads, tokens, tiles of 128 tokens, padded head dim."""
    heads, tokens = (x.shape[1], x.shape[2]) if layout == 0 else (x.shape[2], x.shape[1])
    return x.shape[0], heads, tokens, (tokens + 127) // 128, 64 if x.shape[3] <= 64 else 128  # noqa: PLR2004


@torch.library.register_fake("sageattn3::attention")
def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layout: int,
    is_causal: bool,
    sm_scale: float,
    per_block_mean: bool,
    return_lse: bool,
) -> Tuple[Tensor, Tensor]:
    batch, heads, tokens, _, _ = _sizes(q, layout)
    lse = q.new_empty((batch, heads, tokens) if return_lse else (0,), dtype=torch.float32)
    return q.new_empty(q.shape), lse


@torch.library.register_fake("sageattn3::quantize_q")
def _quantize_q(
    q: Tensor, q_mean: Optional[Tensor], k_mean: Optional[Tensor], layout: int
) -> Tuple[Tensor, Tensor, Tensor]:
    batch, heads, tokens, tiles, size = _sizes(q, layout)
    return (
        q.new_empty((batch, heads, tiles, 72 * size + 16), dtype=torch.uint8),
        q.new_empty((batch, heads, tiles if q_mean is None else 1, size), dtype=torch.float32),
        q.new_empty((0 if k_mean is None else batch, heads, tokens), dtype=torch.float32),
    )


@torch.library.register_fake("sageattn3::quantize_k")
def _quantize_k(k: Tensor, k_mean: Tensor, layout: int) -> Tensor:
    batch, heads, _, tiles, size = _sizes(k, layout)
    return k.new_empty((batch, heads, tiles, 72 * size + 16), dtype=torch.uint8)


@torch.library.register_fake("sageattn3::quantize_v")
def _quantize_v(v: Tensor, layout: int) -> Tuple[Tensor, Tensor]:
    batch, heads, _, tiles, size = _sizes(v, layout)
    records = v.new_empty((batch, heads, tiles, 72 * size), dtype=torch.uint8)
    return records, v.new_empty((batch, heads, size), dtype=torch.float32)


attention = torch.ops.sageattn3.attention.default
quantize_q = torch.ops.sageattn3.quantize_q.default
quantize_k = torch.ops.sageattn3.quantize_k.default
quantize_v = torch.ops.sageattn3.quantize_v.default
