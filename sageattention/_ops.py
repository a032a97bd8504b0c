"""The native operators as torch sees them, and their shapes for torch.compile, FakeTensor and meta tensors.

Importing this module registers the fakes; the library must have been loaded. An operator allocates its outputs on the
current stream and never aliases or changes its inputs.
"""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor

from sageattention._dispatch import padded_head_dim

TILE = 128
"""Prepared operands are padded to a multiple of this many tokens."""


def _padded(tokens: int) -> int:
    return (tokens + TILE - 1) // TILE * TILE


def _sizes(x: Tensor, layout: int) -> Tuple[int, int, int, int]:
    """Batch, heads, tokens, head dim."""
    if layout == 0:
        return x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    return x.shape[0], x.shape[2], x.shape[1], x.shape[3]


@torch.library.register_fake("sageattention::attention")
def _attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor],
    layout: int,
    is_causal: bool,
    sm_scale: float,
    path: str,
    qk_quant_gran: str,
    pv_accum_dtype: str,
    smooth_k: bool,
    smooth_v: bool,
    return_lse: bool,
) -> Tuple[Tensor, Tensor]:
    batch, heads, tokens, _ = _sizes(q, layout)
    lse = q.new_empty((batch, heads, tokens) if return_lse else (0,), dtype=torch.float32)
    return q.new_empty(q.shape), lse


@torch.library.register_fake("sageattention::attention_varlen")
def _attention_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    is_causal: bool,
    sm_scale: float,
    path: str,
    qk_quant_gran: str,
    pv_accum_dtype: str,
    smooth_k: bool,
    return_lse: bool,
) -> Tuple[Tensor, Tensor]:
    lse = q.new_empty((q.shape[1], q.shape[0]) if return_lse else (0,), dtype=torch.float32)
    return q.new_empty(q.shape), lse


@torch.library.register_fake("sageattention::quantize_k")
def _quantize_k(k: Tensor, layout: int, block: int, gran: str, smooth: bool) -> Tuple[Tensor, Tensor, Tensor]:
    batch, heads, tokens, size = _sizes(k, layout)
    size, tokens = padded_head_dim(size), _padded(tokens)
    return (
        k.new_empty((batch, heads, tokens, size), dtype=torch.int8),
        k.new_empty((batch, heads, tokens // block, 4), dtype=torch.float32),
        k.new_empty((batch, heads, size), dtype=torch.float32),
    )


@torch.library.register_fake("sageattention::quantize_v")
def _quantize_v(v: Tensor, layout: int, vmax: float, smooth: bool) -> Tuple[Tensor, Tensor, Tensor]:
    batch, heads, tokens, size = _sizes(v, layout)
    size, tokens = padded_head_dim(size), _padded(tokens)
    return (
        v.new_empty((batch, heads, size, tokens), dtype=torch.float8_e4m3fn),
        v.new_empty((batch, heads, size), dtype=torch.float32),
        v.new_empty((batch, heads, size), dtype=torch.float32),
    )


@torch.library.register_fake("sageattention::quantize_kv")
def _quantize_kv(
    k: Tensor, v: Tensor, layout: int, block: int, gran: str, smooth_k: bool, vmax: float, smooth_v: bool
) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return (*_quantize_k(k, layout, block, gran, smooth_k), *_quantize_v(v, layout, vmax, smooth_v))


@torch.library.register_fake("sageattention::quantize_int8")
def _quantize_int8(x: Tensor, mean: Optional[Tensor], layout: int, block: int, gran: str) -> Tuple[Tensor, Tensor]:
    batch, heads, tokens, _ = _sizes(x, layout)
    blocks = (tokens + block - 1) // block
    scales = (batch, heads, blocks, 4) if gran == "per_thread" else (batch, heads, blocks)
    return x.new_empty(x.shape, dtype=torch.int8), x.new_empty(scales, dtype=torch.float32)


_library = torch.library.Library("sageattention", "FRAGMENT")
_library.define(
    "attention_triton(Tensor q, Tensor k, Tensor v, Tensor? attn_mask, int layout, bool is_causal, float sm_scale, "
    "bool native, bool smooth_k, bool return_lse) -> (Tensor out, Tensor lse)"
)


def _attention_triton(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor],
    layout: int,
    is_causal: bool,
    sm_scale: float,
    native: bool,
    smooth_k: bool,
    return_lse: bool,
) -> Tuple[Tensor, Tensor]:
    try:
        from sageattention import _triton  # noqa: PLC0415 - triton is needed here alone
    except ImportError as error:
        raise RuntimeError(
            f"sageattn_qk_int8_pv_fp16_triton needs the triton that this torch brings: {error}"
        ) from None
    return _triton.attention(q, k, v, attn_mask, layout, is_causal, sm_scale, native, smooth_k, return_lse)


_library.impl("attention_triton", _attention_triton, "CUDA")


@torch.library.register_fake("sageattention::attention_triton")
def _attention_triton_fake(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor],
    layout: int,
    is_causal: bool,
    sm_scale: float,
    native: bool,
    smooth_k: bool,
    return_lse: bool,
) -> Tuple[Tensor, Tensor]:
    batch, heads, tokens, _ = _sizes(q, layout)
    lse = q.new_empty((batch, heads, tokens) if return_lse else (0,), dtype=torch.float32)
    return q.new_empty(q.shape), lse


attention = torch.ops.sageattention.attention.default
attention_triton = torch.ops.sageattention.attention_triton.default
attention_varlen = torch.ops.sageattention.attention_varlen.default
quantize_k = torch.ops.sageattention.quantize_k.default
quantize_v = torch.ops.sageattention.quantize_v.default
quantize_kv = torch.ops.sageattention.quantize_kv.default
quantize_int8 = torch.ops.sageattention.quantize_int8.default
