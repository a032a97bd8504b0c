"""Every step of the FP4 kernels in plain PyTorch, on any device: what the kernels are held against.

The quantizers return exactly the values that the kernels write; :mod:`sageattn3.layout` puts them into the kernels'
order. :func:`attention` follows the attention kernel tile by tile; it differs from it only by the order of float32 sums
and the last bits of exp2. Options that the kernel does not have (``p_levels``, ``block``, ``smooth_q`` ...) are there
for the ablations of the SageAttention3 paper (arXiv 2505.11594, §3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from torch import Tensor

TILE = 128
"""Tokens that share one record, one Q mean and one power-of-two scale."""
BLOCK = 16
"""Values that share one E4M3 scale (NVFP4)."""
E2M1_MAX = 6.0
E4M3_MAX = 448.0
P_RANGE = E2M1_MAX * E4M3_MAX
"""What P's row maximum is scaled to, the second level of P's scaling."""
E2M1_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_LOG2E = 1.4426950408889634


def e2m1_encode(x: Tensor) -> Tensor:
    """The E2M1 codes (uint8, 0..15) of float values: round to nearest, ties to even, saturating; NaN becomes +6.

    As PTX ``cvt.rn.satfinite.e2m1x2.f32``. The sign of zero is kept.
    """
    magnitude = x.abs()
    code = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
    for threshold, tie_goes_up in ((0.25, 0), (0.75, 1), (1.25, 0), (1.75, 1), (2.5, 0), (3.5, 1), (5.0, 0)):
        above = magnitude >= threshold if tie_goes_up else magnitude > threshold
        code += above.to(torch.uint8)
    code |= torch.signbit(x).to(torch.uint8) << 3
    return torch.where(torch.isnan(x), torch.full_like(code, 7), code)


def e2m1_decode(code: Tensor) -> Tensor:
    """The float32 values of E2M1 codes."""
    table = torch.tensor(E2M1_VALUES + tuple(-v for v in E2M1_VALUES), dtype=torch.float32, device=code.device)
    return table[code.long()]


def _divide(x: Tensor, by: float) -> Tensor:
    """X / by, correctly rounded on every device: dividing by a Python number, CUDA multiplies by its reciprocal."""
    return x / torch.full_like(x, by)


def e4m3_round(x: Tensor) -> Tensor:
    """Non-negative float32 values rounded to E4M3 (ties to even, saturating at 448), as float32."""
    return x.clamp(max=E4M3_MAX).to(torch.float8_e4m3fn).float()


def e8m0_round(x: Tensor) -> Tensor:
    """The least power of two not below each value: the shared scale of MXFP4. Zero stays zero."""
    exponent = torch.ceil(torch.log2(x.clamp(min=2.0**-126)))
    return torch.where(x > 0, torch.exp2(exponent), torch.zeros_like(x))


def power_of_two_scale(amax: Tensor) -> Tensor:
    """The least integer e in -100..100 with amax <= 2688 * 2**e (float32 arithmetic, int32 result); 0 for amax 0."""
    mantissa, exponent = torch.frexp(_divide(amax.float(), P_RANGE))
    exponent = exponent.to(torch.int32) - (mantissa == 0.5).to(torch.int32)
    exponent = torch.where(torch.isfinite(amax), exponent, torch.full_like(exponent, 100)).clamp(-100, 100)
    return torch.where(amax == 0, torch.zeros_like(exponent), exponent)


@dataclass
class Blocks:
    """A tensor in E2M1 with one scale for every ``BLOCK`` values of its last dimension."""

    codes: Tensor
    """uint8 ``[..., N]``, one code each."""
    scales: Tensor
    """float32 ``[..., N / block]``, every value an E4M3 (or E8M0) number."""

    def values(self) -> Tensor:
        block = self.codes.shape[-1] // self.scales.shape[-1]
        return e2m1_decode(self.codes) * self.scales.repeat_interleave(block, dim=-1)


def quantize_blocks(x: Tensor, block: int = BLOCK, power_of_two: bool = False) -> Blocks:
    """Quantize float32 ``[..., N]`` (N a multiple of ``block``): scale = amax / 6 rounded to E4M3, codes of x / scale.

    ``power_of_two`` rounds the scale up to E8M0 instead, with ``block=32`` this is MXFP4.
    """
    grouped = x.unflatten(-1, (-1, block))
    amax = grouped.abs().amax(-1)
    wanted = _divide(amax, E2M1_MAX)
    scales = e8m0_round(wanted) if power_of_two else e4m3_round(wanted)
    reciprocal = torch.where(scales > 0, 1.0 / scales, torch.zeros_like(scales))
    codes = e2m1_encode(grouped * reciprocal.unsqueeze(-1)).flatten(-2)
    return Blocks(codes, scales)


def pad_tokens(x: Tensor) -> Tensor:
    """``[..., S, D]`` with zero tokens up to a multiple of 128."""
    return torch.nn.functional.pad(x, (0, 0, 0, -x.shape[-2] % TILE))


def pad_channels(x: Tensor) -> Tensor:
    """``[..., D]`` with zero channels up to 64 or 128."""
    width = 64 if x.shape[-1] <= 64 else 128
    return torch.nn.functional.pad(x, (0, width - x.shape[-1]))


def tile_means(q: Tensor) -> Tensor:
    """Means over the valid tokens of each tile of 128: ``[B, H, S, D]`` to float32 ``[B, H, ceil(S / 128), D]``."""
    sums = pad_tokens(q.float()).unflatten(-2, (-1, TILE)).sum(-2)
    counts = torch.full((sums.shape[-2],), float(TILE), device=q.device)
    if q.shape[-2] % TILE:
        counts[-1] = float(q.shape[-2] % TILE)
    return sums / counts[:, None]


def quantize_rows(x: Tensor, mean: Tensor) -> Tuple[Blocks, Tensor]:
    """Q or K ``[B, H, S, D]`` (any float dtype), D 64 or 128, less ``mean``, in blocks of 16 channels.

    ``mean`` is float32 ``[B, H, tiles, D]`` or ``[B, H, 1, D]``. Returns the blocks, padded to whole tiles
    (``codes [B, H, tiles * 128, D]``), and float32 ``[B, H, tiles]``, the power of two that each tile was divided by.
    """
    length = x.shape[-2]
    tiles = -(-length // TILE)
    centred = pad_tokens(x.float()).unflatten(-2, (tiles, TILE)) - mean.expand(-1, -1, tiles, -1).unsqueeze(-2)
    valid = torch.arange(tiles * TILE, device=x.device).view(tiles, TILE, 1) < length
    centred = torch.where(valid, centred, torch.zeros_like(centred))
    scale = torch.exp2(power_of_two_scale(centred.abs().amax((-1, -2))).float())
    blocks = quantize_blocks((centred / scale[..., None, None]).flatten(-3, -2))
    return blocks, scale


def quantize_channels(v: Tensor) -> Tuple[Blocks, Tensor]:
    """V ``[B, H, S, D]``, D 64 or 128, transposed, in blocks of 16 tokens.

    Returns blocks with ``codes [B, H, D, tiles * 128]`` and float32 ``[B, H, D]``, each channel's power of two.
    """
    transposed = pad_tokens(v.float()).transpose(-1, -2)
    scale = torch.exp2(power_of_two_scale(transposed.abs().amax(-1)).float())
    return quantize_blocks(transposed / scale.unsqueeze(-1)), scale


def quantize_p(p: Tensor, levels: int = 2, block: int = BLOCK, power_of_two: bool = False) -> Tensor:
    """P with its row maximum at most 1, quantized along the last dimension and returned as float32 values.

    ``levels=2`` scales by 2688 first, so that the block scales use all of E4M3's range; ``levels=1`` does not.
    """
    factor = P_RANGE if levels == 2 else 1.0
    grouped = (p * factor).unflatten(-1, (-1, block))
    wanted = _divide(grouped.amax(-1), E2M1_MAX)
    if levels == 2:  # the kernel's: never zero, so that P / scale stays finite
        wanted = wanted.clamp(min=2.0**-9)
    scales = e8m0_round(wanted) if power_of_two else e4m3_round(wanted)
    reciprocal = torch.where(scales > 0, 1.0 / scales, torch.zeros_like(scales)).unsqueeze(-1)
    return (e2m1_decode(e2m1_encode(grouped * reciprocal)) * scales.unsqueeze(-1)).flatten(-2) / factor


@dataclass
class Options:
    """What an ablation changes; the defaults are the kernel."""

    smooth_k: bool = True
    smooth_q: bool = True
    per_block_mean: bool = True
    p_levels: int = 2
    p_tile_max: bool = False
    """Scale P by the row maximum of its own tile (as the paper does) instead of the running one."""
    block: int = BLOCK
    power_of_two: bool = False
    quantize_p: bool = True
    quantize_v: bool = True


def _dequantized(x: Tensor, mean: Tensor, options: Options) -> Tensor:
    if options.block == BLOCK and not options.power_of_two:
        blocks, scale = quantize_rows(x, mean)
        return (blocks.values().unflatten(-2, (-1, TILE)) * scale[..., None, None]).flatten(-3, -2)
    tiles = -(-x.shape[-2] // TILE)
    centred = pad_tokens(x.float()).unflatten(-2, (tiles, TILE)) - mean.expand(-1, -1, tiles, -1).unsqueeze(-2)
    return quantize_blocks(centred.flatten(-3, -2), options.block, options.power_of_two).values()


def _dequantized_v(v: Tensor, options: Options) -> Tensor:
    if not options.quantize_v:
        return pad_tokens(v.float())
    if options.block == BLOCK and not options.power_of_two:
        blocks, scale = quantize_channels(v)
        return (blocks.values() * scale.unsqueeze(-1)).transpose(-1, -2)
    transposed = pad_tokens(v.float()).transpose(-1, -2)
    return quantize_blocks(transposed, options.block, options.power_of_two).values().transpose(-1, -2)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    is_causal: bool = False,
    sm_scale: Optional[float] = None,
    options: Optional[Options] = None,
    q_mean: Optional[Tensor] = None,
    k_mean: Optional[Tensor] = None,
) -> Tuple[Tensor, Tensor]:
    """The kernel's result for HND ``q [B, Hq, Sq, D]`` and ``k, v [B, Hkv, Sk, D]``, D at most 128.

    Returns float32 ``out [B, Hq, Sq, D]`` and natural-log ``lse [B, Hq, Sq]``. The causal mask is aligned top left.
    ``q_mean`` ``[B, Hq, tiles or 1, D]`` and ``k_mean`` ``[B, Hkv, D]`` replace the means computed here, where the
    order of a float32 sum must not matter.
    """
    options = options or Options()
    head_dim, q_length, k_length = q.shape[-1], q.shape[-2], k.shape[-2]
    scale = head_dim**-0.5 if sm_scale is None else sm_scale
    group = q.shape[1] // k.shape[1]
    q, k, v = pad_channels(q), pad_channels(k), pad_channels(v)

    zero_k = torch.zeros_like(k[:, :, 0].float())
    k_mean = pad_channels(k_mean) if k_mean is not None else k.float().mean(-2) if options.smooth_k else zero_k
    if not options.smooth_q:
        q_mean = torch.zeros_like(q[:, :, :1].float())
    elif q_mean is None:
        q_mean = tile_means(q) if options.per_block_mean else q.float().mean(-2, keepdim=True)

    k_rows = _dequantized(k, k_mean.unsqueeze(-2), options).repeat_interleave(group, dim=1)
    q_rows = _dequantized(q, q_mean, options)
    v_rows = _dequantized_v(v, options).repeat_interleave(group, dim=1)
    centred_k = pad_tokens(k.float() - k_mean.unsqueeze(-2)).repeat_interleave(group, dim=1)
    delta = (q_mean.double() @ centred_k.double().transpose(-1, -2)).float() * (scale * _LOG2E)

    tiles_q = q_rows.shape[-2] // TILE
    rows = torch.arange(q_rows.shape[-2], device=q.device)
    m = torch.full(q_rows.shape[:-1], -math.inf, device=q.device)
    row_sum = torch.zeros_like(m)
    o = torch.zeros_like(q_rows)
    for start in range(0, k_rows.shape[-2], TILE):
        tile = slice(start, start + TILE)
        s = (q_rows @ k_rows[:, :, tile].transpose(-1, -2)) * (scale * _LOG2E)
        tile_delta = delta[..., tile].expand(-1, -1, tiles_q, -1).repeat_interleave(TILE, dim=-2)
        s = s + tile_delta
        token = torch.arange(start, start + TILE, device=q.device)
        hidden = (token >= k_length).expand(rows.numel(), -1)
        if is_causal:
            hidden = hidden | (token[None, :] > rows[:, None])
        s = s.masked_fill(hidden, -math.inf)
        new_m = torch.maximum(m, s.amax(-1))
        rescale = torch.exp2(m - new_m)
        row_sum = row_sum * rescale + torch.exp2(s - new_m.unsqueeze(-1)).sum(-1)
        top = s.amax(-1).clamp(min=-1e30) if options.p_tile_max else new_m
        p = torch.exp2(s - top.unsqueeze(-1))
        if options.quantize_p:
            p = quantize_p(p, options.p_levels, options.block, options.power_of_two)
        weight = torch.exp2(top - new_m).unsqueeze(-1)
        o = o * rescale.unsqueeze(-1) + weight * (p @ v_rows[:, :, tile])
        m = new_m
    out = (o / row_sum.unsqueeze(-1))[:, :, :q_length, :head_dim]
    correction = (q.float() @ k_mean.repeat_interleave(group, dim=1).unsqueeze(-1)).squeeze(-1) * scale
    lse = ((m + torch.log2(row_sum)) * math.log(2.0))[:, :, :q_length] + correction
    return out, lse


def exact(
    q: Tensor, k: Tensor, v: Tensor, is_causal: bool = False, sm_scale: Optional[float] = None
) -> Tuple[Tensor, Tensor]:
    """Attention in float64 and its natural-log lse, for the same HND shapes; the causal mask is aligned top left."""
    group = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(group, 1), v.double().repeat_interleave(group, 1)
    s = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if sm_scale is None else sm_scale)
    if is_causal:
        hidden = torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).triu(1)
        s = s.masked_fill(hidden, -math.inf)
    return torch.softmax(s, -1) @ v, torch.logsumexp(s, -1)
