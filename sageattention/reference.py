"""The same attention in plain PyTorch, quantized exactly as the kernels quantize: same groups, scales and rounding.

A kernel may differ from it by the order of its sums and by nothing else, so that a larger difference is a fault and no
tolerance. It runs on any device and is slow. Tensors are ``[B, H, S, D]`` here; means, scales and logits are float32.
Each function's rule is the kernels' own definition: `sampled_mean` and `quantize_k` that of ``sage/quant_k.cuh``,
`quantize_v` that of ``sage/quant_v.cuh``, `quantize_q` that of the attention kernels.
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from sageattention import _dispatch

LOG2_E = 1.4426950408889634
P_MAX = 448.0
HEADROOM = 3.0
"""Powers of two by which the wgmma kernels let the maximum that P is relative to lag behind the row's maximum."""
SAMPLES = 128
"""Tokens that a mean is taken from."""
V_ORDER = (0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15)
"""Token order inside each 16 of ``v8``."""


class Quantized(NamedTuple):
    """Integers or e4m3 values, the scale of each group, and each token's group (or None: one scale a channel)."""

    values: Tensor
    scale: Tensor
    group: Optional[Tensor]

    def scale_of(self, tokens: slice = slice(None)) -> Tensor:
        """Each of these tokens' scale, ``[B, H, tokens]``."""
        if self.group is None:
            raise ValueError("these scales belong to channels, not to tokens")
        return self.scale[..., self.group[tokens]]

    def dequantized(self) -> Tensor:
        """float32, without any mean added back."""
        return self.values.float() * (self.scale if self.group is None else self.scale_of()[..., None])


def sampled_mean(x: Tensor) -> Tensor:
    """The vector taken from K (or V), ``[B, H, D]``: the mean of at most 128 of its tokens, spread over all of them.

    Any vector leaves the softmax as it is, so a sample serves; it is summed pairwise, the far half onto the near one.
    """
    length = x.shape[2]
    count = min(length, SAMPLES)
    chosen = torch.arange(count, device=x.device)
    if length > SAMPLES:
        chosen = ((chosen << 16) + ((chosen * 40503 + 32768) & 65535)) * length >> 23
    total = x.new_zeros((*x.shape[:2], SAMPLES, x.shape[3]), dtype=torch.float32)
    total[:, :, :count] = x[:, :, chosen].float()
    while total.shape[2] > 1:
        total = total[:, :, : total.shape[2] // 2] + total[:, :, total.shape[2] // 2 :]
    return torch.div(total, torch.full_like(total, count))[:, :, 0]


def quantize_k(k: Tensor, block: int, gran: str, mean: Optional[Tensor] = None) -> Quantized:
    """int8 K less ``mean``; scales ``[B, H, groups]``, where token s is in group ``s // block · 4 + s mod 8 // 2``.

    per_warp has one group a block instead of four.
    """
    x = k.float() if mean is None else k.float() - mean[:, :, None, :]
    tokens = torch.arange(k.shape[2], device=k.device)
    group = tokens // block
    # The kernel rounds the exact product (one FMA); float64 holds it.
    return _int8(x.double(), group if gran == "per_warp" else group * 4 + tokens % 8 // 2)


def quantize_q(q: Tensor, warp_rows: int, gran: str) -> Quantized:
    """int8 Q; row s is in group ``s // warp_rows · 8 + s mod 8``, or for per_warp in group ``s // warp_rows``."""
    rows = torch.arange(q.shape[2], device=q.device)
    group = rows // warp_rows
    return _int8(q.float(), group if gran == "per_warp" else group * 8 + rows % 8)


def quantize_block(x: Tensor, block: int, mean: Optional[Tensor] = None) -> Quantized:
    """int8 x less ``mean``, one group for ``block`` rows (the Triton kernel's operands)."""
    rows = torch.arange(x.shape[2], device=x.device)
    return _int8(x.float() if mean is None else x.float() - mean[:, :, None, :], rows // block)


def unquantized(x: Tensor) -> Quantized:
    """Q or K as it is: one group, with a scale of one."""
    return Quantized(x, x.new_ones((*x.shape[:2], 1), dtype=torch.float32), x.new_zeros(x.shape[2], dtype=torch.int64))


def quantize_v(v: Tensor, v_max: float, mean: Optional[Tensor] = None) -> Quantized:
    """e4m3 V less ``mean``, scaled by channel so that the largest magnitude is ``v_max``; scales ``[B, H, 1, D]``."""
    x = v.float() if mean is None else v.float() - mean[:, :, None, :]
    amax = x.abs().amax(2, keepdim=True) if v.shape[2] else x.new_zeros((*x.shape[:2], 1, x.shape[3]))
    scale, inverse = _scales(amax, v_max)
    return Quantized((x * inverse).to(torch.float8_e4m3fn), scale, None)


def _int8(x: Tensor, group: Tensor) -> Quantized:
    groups = int(group.max()) + 1 if group.numel() else 0
    amax = x.new_zeros((*x.shape[:2], groups), dtype=torch.float32)
    if x.numel():
        amax = amax.scatter_reduce(2, group.expand(*x.shape[:2], -1), x.abs().amax(3).float(), "amax")
    scale, inverse = _scales(amax, 127.0)
    # The exact product, which float64 holds, is what is rounded: to nearest, ties to even.
    values = torch.nan_to_num(x.double() * inverse[..., group][..., None].double()).round().clamp(-128, 127)
    values = values.to(torch.int8)
    return Quantized(values, scale, group)


def _scales(amax: Tensor, largest: float) -> Tuple[Tensor, Tensor]:
    """The scale of groups with these maxima and its reciprocal; both 0 for a group that counts as zero."""
    zero = amax < 2.0**-100
    reciprocal = torch.tensor(1.0 / largest, dtype=torch.float32, device=amax.device)
    # Division of two tensors is IEEE's; a number in its place would be turned into a multiplication on the GPU.
    inverse = torch.div(torch.full_like(amax, largest), amax)
    return torch.where(zero, 0.0, amax * reciprocal), torch.where(zero, 0.0, inverse)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor] = None,
    *,
    is_causal: bool = False,
    sm_scale: Optional[float] = None,
    path: str = "f16",
    qk_quant_gran: str = "per_thread",
    pv_accum_dtype: str = "fp32",
    smooth_k: bool = True,
    smooth_v: bool = False,
) -> Tuple[Tensor, Tensor]:
    """What the kernels of ``path`` compute for ``q [B, Hq, Sq, D]``, ``k``, ``v [B, Hkv, Sk, D]``.

    ``path`` is a native path, or ``triton``. Returns the result in q's dtype and lse (float32, ``[B, Hq, Sq]``).
    """
    scale = q.shape[3] ** -0.5 if sm_scale is None else sm_scale
    if k.shape[2] == 0:
        return torch.zeros_like(q), q.new_full(q.shape[:3], -math.inf, dtype=torch.float32)
    v_mean = sampled_mean(v) if smooth_v else None
    mean = None
    if smooth_k and path != "f8_sm90_qk16":
        mean = k.mean(2, dtype=torch.float32) if path == "triton" else sampled_mean(k)
    if path == "triton":
        block, p_max, headroom = 64, 0.0, 0.0
        q8, k8 = quantize_block(q, 128 if q.shape[3] <= 128 else 64), quantize_block(k, block, mean)  # noqa: PLR2004
        values, v_scale = v, None
    else:
        family = _dispatch.PATHS[path]
        block, v_max = family.key_block, family.v_max[pv_accum_dtype]
        wide = q.shape[3] <= 128 and attn_mask is None  # noqa: PLR2004 - else a warp holds 16 rows, and sums are FP32
        if path == "f8_sm90_qk16":
            q8, k8 = unquantized(q), unquantized(k)
        else:
            q8 = quantize_q(q, family.warp_rows if wide else 16, qk_quant_gran)
            k8 = quantize_k(k, block, qk_quant_gran, mean)
        # P is stored times the largest e4m3 number, half of that where wgmma sums in FP16; less the headroom of a
        # maximum that lags behind.
        wgmma = path.startswith("f8_sm90")
        p_max = 0.0 if not v_max else 224.0 if wgmma and v_max < P_MAX else P_MAX
        headroom = HEADROOM if wgmma else 0.0
        p_max /= 2.0**headroom
        quantized = quantize_v(v, v_max, v_mean) if v_max else None
        v_scale = None if quantized is None else quantized.scale
        if path == "f16" and not wide:
            pv_accum_dtype = "fp32"
        if quantized is not None:
            values = quantized.values
        elif v_mean is not None:
            values = (v.float() - v_mean[:, :, None, :]).half()
        else:
            values = v if pv_accum_dtype == "fp32" else v.half()
    repeat = q.shape[1] // k.shape[1]
    blocks = [slice(first, min(first + block, k.shape[2])) for first in range(0, k.shape[2], block)]
    if path.startswith("f8_sm90"):
        blocks.reverse()  # from the last keys to the first
    out, lse = _softmax(
        q8, k8, _repeat(values, repeat), attn_mask, is_causal, scale, blocks, p_max, headroom, pv_accum_dtype, repeat
    )
    if v_scale is not None:
        out = out * _repeat(v_scale, repeat)
    if v_mean is not None:
        out = torch.where(torch.isfinite(lse)[..., None], out + _repeat(v_mean, repeat)[:, :, None, :], out)
    if mean is not None:
        lse = lse + scale * (q.float() * _repeat(mean, repeat)[:, :, None, :]).sum(-1)
    return out.to(q.dtype), lse


def _repeat(x: Tensor, times: int) -> Tensor:
    return x.repeat_interleave(times, 1) if times > 1 else x


def _softmax(
    q8: Quantized,
    k8: Quantized,
    v: Tensor,
    attn_mask: Optional[Tensor],
    is_causal: bool,
    scale: float,
    blocks: List[slice],
    p_max: float,
    headroom: float,
    accumulator: str,
    repeat: int,
) -> Tuple[Tensor, Tensor]:
    """The online softmax over blocks of keys in base 2; P rounded to V's type, against the running maximum."""
    query = q8.values.float()
    batch, heads, rows, _ = query.shape
    keys = k8.values.shape[2]
    q_factor = q8.scale_of()[..., None] * (scale * LOG2_E)
    highest = query.new_full((batch, heads, rows, 1), -math.inf)
    total = query.new_zeros((batch, heads, rows, 1))
    sums = query.new_zeros((batch, heads, rows, v.shape[3]))
    row = torch.arange(rows, device=query.device)[:, None]
    full = None if attn_mask is None else attn_mask.expand(batch, heads, rows, keys)
    for part in blocks:
        column = torch.arange(part.start, part.stop, device=query.device)
        k_factor = _repeat(k8.scale_of(part), repeat)[..., None, :]
        logits = query @ _repeat(k8.values[:, :, part].float(), repeat).transpose(-1, -2) * (q_factor * k_factor)
        if full is not None and full.dtype != torch.bool:
            logits = logits + full[..., part].float() * LOG2_E
        if full is not None and full.dtype == torch.bool:
            logits = logits.masked_fill(~full[..., part], -math.inf)
        if is_causal:
            logits = logits.masked_fill(column > row, -math.inf)
        reached = logits.amax(-1, keepdim=True)
        higher = torch.where(reached > highest + headroom, reached, highest)
        floor = torch.where(higher == -math.inf, torch.zeros_like(higher), higher)
        weights, decay = torch.exp2(logits - floor), torch.exp2(highest - floor)
        total = total * decay + weights.sum(-1, keepdim=True)
        rounded = (weights * p_max).to(v.dtype).float() / p_max if p_max else weights.to(v.dtype).float()
        product = rounded @ v[:, :, part].float()
        if accumulator in {"fp16", "fp16+fp32"}:
            product = product.half().float()
        if accumulator == "fp16":
            sums = ((sums * decay.half().float()).half().float() + product).half().float()
        else:
            sums = sums * decay + product
        highest = higher
    out = sums / torch.where(total > 0, total, torch.ones_like(total))
    lse = torch.where(total > 0, (highest + torch.log2(total)) / LOG2_E, torch.full_like(total, -math.inf))
    return out, lse[..., 0]
