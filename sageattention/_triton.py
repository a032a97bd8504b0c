"""INT8 QK attention with 16-bit PV in Triton: the native kernels' algorithm, for any GPU Triton compiles for.

Q is quantized by blocks of rows and K by blocks of 64 tokens, one scale a block, whole head dim; P and V stay in V's
16-bit dtype and are summed in FP32. Written to the language common to Triton 3.1 to 3.9. Programs are counted in one
dimension and offsets in 64 bits, so that neither heads times batch nor the number of elements is limited. Lengths and
counts are not specialized on: another length compiles nothing.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Dict, NamedTuple, Optional, Tuple

import torch
import triton
import triton.language as tl

from sageattention._dispatch import padded_head_dim, version

KEY_BLOCK = 64
"""Tokens of K that share a scale."""


class Tile(NamedTuple):
    """Query rows (which share a scale), keys a step, warps and pipeline stages for one padded head dim.

    Budgeted for the 99 KiB of shared memory of compute capability 8.6, 8.9 and 12.x: one stage is
    ``keys · head dim · 3`` bytes.
    """

    queries: int
    keys: int
    warps: int
    stages: int


TILES = {64: Tile(128, 64, 4, 3), 128: Tile(128, 64, 8, 3), 256: Tile(64, 32, 8, 2)}
# Triton 3.1 cannot carry the result of an int8 wgmma into a 16-bit one; two warps keep it to mma.sync.
TILES_HOPPER_3_1 = {64: Tile(64, 64, 2, 2), 128: Tile(32, 64, 2, 2), 256: Tile(32, 32, 2, 2)}


# Triton's first release whose matrix products compile for a major compute capability.
SINCE = {10: "3.3", 12: "3.3.1"}


@functools.lru_cache(maxsize=None)
def tiles(capability_major: int) -> Dict[int, Tile]:
    """The tiles for a GPU of this major compute capability, by padded head dim."""
    since = SINCE.get(capability_major, "0")
    if version(triton.__version__) < version(since):
        raise RuntimeError(
            f"Triton {triton.__version__} cannot compile for compute capability {capability_major}.x; {since} and "
            "newer can; sageattn and the functions named cuda need no Triton"
        )
    return TILES_HOPPER_3_1 if capability_major == 9 and version(triton.__version__) < (3, 2) else TILES  # noqa: PLR2004


@triton.jit(do_not_specialize=["heads", "group", "tokens", "blocks"])
def quantize_kernel(
    x,
    mean,
    x8,
    scale,
    shift,
    stride_b,
    stride_h,
    stride_s,
    heads,
    group,
    tokens,
    blocks,
    head_dim,
    BLOCK: tl.constexpr,
    BLOCK_D: tl.constexpr,
    SUBTRACT: tl.constexpr,
    SHIFT: tl.constexpr,
):
    """One block of rows of one head → int8 and one scale, amax / 127; `mean` is `[B, heads / group, BLOCK_D]`.

    SUBTRACT takes the mean out first (K); SHIFT stores each row's inner product with it instead (Q, for the lse).
    """
    program = tl.program_id(0)
    block = program % blocks
    bh = (program // blocks).to(tl.int64)
    rows = block * BLOCK + tl.arange(0, BLOCK)
    columns = tl.arange(0, BLOCK_D)
    valid = (rows < tokens)[:, None] & (columns < head_dim)[None, :]
    start = x + (bh // heads) * stride_b + (bh % heads) * stride_h
    values = tl.load(start + rows[:, None].to(tl.int64) * stride_s + columns[None, :], mask=valid, other=0.0).to(
        tl.float32
    )
    if SUBTRACT or SHIFT:
        head = (bh // heads) * (heads // group) + (bh % heads) // group
        centre = tl.load(mean + head * BLOCK_D + columns)
        if SHIFT:
            tl.store(shift + bh * tokens + rows, tl.sum(values * centre[None, :], 1), mask=rows < tokens)
        else:
            values = tl.where(valid, values - centre[None, :], 0.0)
    amax = tl.max(tl.max(tl.abs(values), 1), 0)
    # 1.5 · 2^23 added to the exact product and taken away rounds to the nearest integer, ties to even. Groups below
    # 2^-100 count as zero.
    zero = amax < 7.888609052210118e-31  # noqa: PLR2004
    inverse = tl.where(zero, 0.0, tl.div_rn(127.0, amax))
    rounded = tl.fma(values, inverse, 12582912.0) - 12582912.0
    place = x8 + (bh * tokens + rows[:, None]) * BLOCK_D + columns[None, :]
    tl.store(place, rounded.to(tl.int8), mask=(rows < tokens)[:, None])
    tl.store(scale + bh * blocks + block, tl.where(zero, 0.0, amax * 0.007874015748031496))


@triton.jit(do_not_specialize=["heads", "group", "queries", "keys", "query_blocks", "key_blocks"])
def attention_kernel(
    q8,
    k8,
    v,
    q_scale,
    k_scale,
    mask,
    shift,
    out,
    lse,
    stride_vb,
    stride_vh,
    stride_vs,
    stride_mb,
    stride_mh,
    stride_mq,
    stride_mk,
    stride_ob,
    stride_oh,
    stride_os,
    heads,
    group,
    queries,
    keys,
    head_dim,
    query_blocks,
    key_blocks,
    sm_scale,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    KEY_BLOCK: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASK: tl.constexpr,
    SMOOTH: tl.constexpr,
    LSE: tl.constexpr,
):
    """One block of queries of one head against all its keys; MASK is 0 none, 1 bool, 2 additive."""
    program = tl.program_id(0)
    block = program % query_blocks
    bh = (program // query_blocks).to(tl.int64)
    batch = bh // heads
    head = bh % heads
    kv = batch * (heads // group) + head // group
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.arange(0, BLOCK_D)
    steps = tl.arange(0, BLOCK_N)
    wide = rows.to(tl.int64)
    query = tl.load(
        q8 + (bh * queries + wide)[:, None] * BLOCK_D + columns[None, :], mask=(rows < queries)[:, None], other=0
    )
    to_log2 = tl.load(q_scale + bh * query_blocks + block) * sm_scale * 1.4426950408889634
    running_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    sums = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    end = keys
    if CAUSAL:
        end = tl.minimum(keys, (block + 1) * BLOCK_M)
    for first in range(0, end, BLOCK_N):
        tokens = first + steps
        present = tokens < keys
        far = tokens.to(tl.int64)
        key = tl.load(k8 + (kv * keys + far)[None, :] * BLOCK_D + columns[:, None], mask=present[None, :], other=0)
        factor = to_log2 * tl.load(k_scale + kv * key_blocks + first // KEY_BLOCK)
        logits = tl.dot(query, key).to(tl.float32) * factor
        keep = present[None, :] & (rows < queries)[:, None]
        if CAUSAL:
            keep = keep & (tokens[None, :] <= rows[:, None])
        if MASK != 0:
            where = mask + batch * stride_mb + head * stride_mh + wide[:, None] * stride_mq + far[None, :] * stride_mk
            bias = tl.load(where, mask=keep, other=0)
            if MASK == 1:
                keep = keep & (bias != 0)
            else:
                logits += bias.to(tl.float32) * 1.4426950408889634
        logits = tl.where(keep, logits, float("-inf"))
        new_max = tl.maximum(running_max, tl.max(logits, 1))
        # A row that has seen no key keeps a finite reference, so that -inf is never taken from -inf.
        floor = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(logits - floor[:, None])
        decay = tl.exp2(running_max - floor)
        total = total * decay + tl.sum(weights, 1)
        value = tl.load(
            v + batch * stride_vb + (head // group) * stride_vh + far[:, None] * stride_vs + columns[None, :],
            mask=present[:, None] & (columns < head_dim)[None, :],
            other=0.0,
        )
        sums = tl.dot(weights.to(value.dtype), value, sums * decay[:, None])
        running_max = new_max
    result = sums / tl.where(total > 0.0, total, 1.0)[:, None]
    place = out + batch * stride_ob + head * stride_oh + wide[:, None] * stride_os + columns[None, :]
    tl.store(place, result.to(out.dtype.element_ty), mask=(rows < queries)[:, None] & (columns < head_dim)[None, :])
    if LSE:
        natural = (running_max + tl.log2(total)) * 0.6931471805599453
        if SMOOTH:
            offset = tl.load(shift + bh * queries + wide, mask=rows < queries, other=0.0) * sm_scale
            natural = tl.where(total > 0.0, natural + offset, natural)
        tl.store(lse + bh * queries + wide, tl.where(total > 0.0, natural, float("-inf")), mask=rows < queries)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: Optional[torch.Tensor],
    layout: int,
    is_causal: bool,
    sm_scale: float,
    native: bool,
    smooth_k: bool,
    return_lse: bool,
) -> Tuple[torch.Tensor, torch.Tensor]:
    """The operator `attention_triton`; shapes and masks as in `sageattention.core`, lse empty unless asked for.

    ``native`` has Q and K quantized by the CUDA operator `quantize_int8` instead of Triton.
    """
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    qh, kh, vh, oh = (x if layout == 0 else x.transpose(1, 2) for x in (q, k, v, out))
    batch, heads, queries, head_dim = qh.shape
    keys = kh.shape[2]
    lse = torch.empty((batch, heads, queries) if return_lse else (0,), dtype=torch.float32, device=q.device)
    if 0 in (batch, heads, queries, keys):
        return out.zero_(), lse.fill_(float("-inf"))
    padded = padded_head_dim(head_dim)
    tile = tiles(torch.cuda.get_device_capability(q.device)[0] if q.is_cuda else 0)[padded]
    with _device(q):
        mean = _mean(kh, padded) if smooth_k else None
        if native:
            k8, k_scale = _native(k, mean, layout, KEY_BLOCK, padded)
            q8, q_scale = _native(q, None, layout, tile.queries, padded)
            shift = _shift(qh, mean, padded) if return_lse and mean is not None else None
        else:
            k8, k_scale, _ = _quantize(kh, mean, 1, KEY_BLOCK, padded, subtract=smooth_k)
            wanted = mean if return_lse else None
            q8, q_scale, shift = _quantize(qh, wanted, heads // kh.shape[1], tile.queries, padded, subtract=False)
        mask, kind = _mask(attn_mask, (batch, heads, queries, keys))
        blocks = triton.cdiv(queries, tile.queries)
        attention_kernel[(blocks * batch * heads,)](
            q8,
            k8,
            vh,
            q_scale,
            k_scale,
            q8 if mask is None else mask,
            q_scale if shift is None else shift,
            oh,
            lse,
            *vh.stride()[:3],
            *((0, 0, 0, 0) if mask is None else mask.stride()),
            *oh.stride()[:3],
            heads,
            heads // kh.shape[1],
            queries,
            keys,
            head_dim,
            blocks,
            triton.cdiv(keys, KEY_BLOCK),
            sm_scale,
            BLOCK_M=tile.queries,
            BLOCK_N=tile.keys,
            BLOCK_D=padded,
            KEY_BLOCK=KEY_BLOCK,
            CAUSAL=is_causal,
            MASK=kind,
            SMOOTH=shift is not None,
            LSE=return_lse,
            num_warps=tile.warps,
            num_stages=tile.stages,
        )
    return out, lse


def _quantize(
    x: torch.Tensor, mean: Optional[torch.Tensor], group: int, block: int, padded: int, *, subtract: bool
) -> Tuple[torch.Tensor, torch.Tensor, Optional[torch.Tensor]]:
    """`quantize_kernel` over ``[B, H, S, D]``: int8 ``[B, H, S, padded]``, scales ``[B, H, blocks]``, ``x · mean``."""
    batch, heads, tokens, head_dim = x.shape
    blocks = triton.cdiv(tokens, block)
    x8 = torch.empty((batch, heads, tokens, padded), dtype=torch.int8, device=x.device)
    scale = torch.empty((batch, heads, blocks), dtype=torch.float32, device=x.device)
    shift = None
    if mean is not None and not subtract:
        shift = torch.empty((batch, heads, tokens), dtype=torch.float32, device=x.device)
    quantize_kernel[(blocks * batch * heads,)](
        x,
        scale if mean is None else mean,
        x8,
        scale,
        scale if shift is None else shift,
        *x.stride()[:3],
        heads,
        group,
        tokens,
        blocks,
        head_dim,
        BLOCK=block,
        BLOCK_D=padded,
        SUBTRACT=mean is not None and subtract,
        SHIFT=shift is not None,
        num_warps=4,
    )
    return x8, scale, shift


def _native(
    x: torch.Tensor, mean: Optional[torch.Tensor], layout: int, block: int, padded: int
) -> Tuple[torch.Tensor, torch.Tensor]:
    """The CUDA quantizer's result in the shapes of `_quantize`."""
    head_dim = x.shape[3]
    x8, scale = torch.ops.sageattention.quantize_int8.default(
        x, None if mean is None else mean[..., :head_dim].contiguous(), layout, block, "per_warp"
    )
    x8 = x8 if layout == 0 else x8.transpose(1, 2)
    return torch.nn.functional.pad(x8, (0, padded - head_dim)).contiguous(), scale


def _mean(k: torch.Tensor, padded: int) -> torch.Tensor:
    """K's mean over the tokens, float32 ``[B, Hkv, padded]``."""
    mean = k.mean(2, dtype=torch.float32)
    return torch.nn.functional.pad(mean, (0, padded - mean.shape[-1])).contiguous()


def _shift(q: torch.Tensor, mean: torch.Tensor, padded: int) -> torch.Tensor:
    """``q · mean`` in float32, ``[B, Hq, Sq]``."""
    return _quantize(q, mean, q.shape[1] // mean.shape[1], TILES[padded].queries, padded, subtract=False)[2]  # type: ignore[return-value]


def _mask(attn_mask: Optional[torch.Tensor], sizes: Tuple[int, int, int, int]) -> Tuple[Optional[torch.Tensor], int]:
    """The mask over ``[B, Hq, Sq, Sk]`` with stride 0 where it broadcasts, and the kernel's MASK."""
    if attn_mask is None:
        return None, 0
    full = attn_mask.expand(sizes)
    return (full.view(torch.uint8), 1) if full.dtype == torch.bool else (full, 2)


def _device(x: torch.Tensor) -> Any:
    """A guard that makes x's device current, and the caller's again afterwards."""
    return torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext()
