"""Operands of the attention kernels in numpy, as ctypes structures, and what the kernels should make of them."""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
TOKENS = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]


class Rows(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("batch", ctypes.c_longlong),
        ("head", ctypes.c_longlong),
        ("token", ctypes.c_longlong),
    ]


class Params(ctypes.Structure):
    """struct AttnParams of kernels/include/sage/params.h."""

    _fields_ = [
        ("q", Rows),
        ("v", Rows),
        ("out", Rows),
        *((name, ctypes.c_void_p) for name in ("k8", "k_scale", "k_mean", "v8", "v_scale", "v_mean", "lse")),
        ("lse_batch", ctypes.c_longlong),
        ("lse_head", ctypes.c_longlong),
        ("mask", ctypes.c_void_p),
        ("mask_stride", ctypes.c_longlong * 4),
        ("cu_q", ctypes.c_void_p),
        ("cu_k", ctypes.c_void_p),
        ("k_rows", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("B", "Hq", "Hkv", "Sq", "Sk")),
        *((name, ctypes.c_int) for name in ("head_dim", "mask_kind", "causal", "bf16", "per_warp")),
        ("sm_scale", ctypes.c_float),
        ("scale_log2", ctypes.c_float),
        ("counter", ctypes.c_void_p),
    ]


@dataclass(frozen=True)
class Kind:
    """One way to multiply P by V."""

    macro: str
    bf16: bool = False
    vmax: float = 0.0
    error: float = 5e-4  # relative L1 against exact arithmetic on the same quantized operands
    smooth_v: bool = False  # V comes as fp16 less a mean
    key_block: int = 64  # tokens of K that share scales
    qk16: bool = False  # Q and K stay in 16 bits
    warp: int = 32  # query rows of a warp, but for masks and the largest head dim in the mma.sync kernels


def as16(x: Array, *, bf16: bool) -> tuple[Array, Array]:
    """Values rounded to the 16-bit type, and their bits."""
    if not bf16:
        half = x.astype(np.float16)
        return half.astype(np.float32), half.view(np.uint16)
    bits = x.astype(np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint32)
    return (rounded << 16).view(np.float32), rounded.astype(np.uint16)


def from16(bits: Array, *, bf16: bool) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32) if bf16 else bits.view(np.float16).astype(np.float32)


def e4m3_values(codes: Array) -> Array:
    """What e4m3 bytes of positive finite numbers stand for."""
    exponent, mantissa = codes >> 3, codes & 7
    values: Array = np.where(exponent > 0, (8.0 + mantissa) * 2.0 ** (exponent - 10.0), mantissa * 2.0**-9)
    return values


def e4m3(x: Array) -> tuple[Array, Array]:
    """Values rounded to e4m3, and their bytes."""
    table = e4m3_values(np.arange(127))
    code = np.abs(np.abs(x)[..., None] - table).argmin(-1)
    return np.sign(x) * table[code], (code | np.where(x < 0, 128, 0)).astype(np.uint8)


def padded(length: int) -> int:
    return -(-length // 128) * 128


def quantize_k(k: Array, dim: int, block: int = 64, *, per_warp: bool) -> tuple[Array, Array, Array, Array]:
    """k8, its scales, the mean, and the values that they stand for; k is [heads, tokens, channels]."""
    heads, length, channels = k.shape
    full = np.zeros((heads, padded(length), dim), np.float32)
    mean = np.zeros((heads, dim), np.float32)
    mean[:, :channels] = k.mean(1) if length else 0
    full[:, :length, :channels] = k - mean[:, None, :channels]
    groups = full.reshape(heads, -1, block // 8, 4, 2, dim)
    amax = np.abs(groups).max((2, 4, 5))
    if per_warp:
        amax = np.broadcast_to(amax.max(-1, keepdims=True), amax.shape)
    scale = np.ascontiguousarray(amax / np.float32(127))
    inverse = np.divide(np.float32(127), amax, out=np.zeros_like(scale), where=amax > 0)
    k8 = np.rint(groups * inverse[:, :, None, :, None, None]).astype(np.int8)
    values = k8.astype(np.float64) * scale[:, :, None, :, None, None]
    return k8.reshape(full.shape), scale, mean, values.reshape(full.shape)[:, :length, :channels]


def quantize_v(v: Array, dim: int, vmax: float) -> tuple[Array, Array, Array]:
    """v8, its scales, and the values that they stand for."""
    heads, length, channels = v.shape
    full = np.zeros((heads, padded(length), dim), np.float32)
    full[:, :length, :channels] = v
    amax = np.abs(full).max(1) if length else np.zeros((heads, dim), np.float32)
    scale = (amax / np.float32(vmax)).astype(np.float32)
    values, codes = e4m3(np.divide(full, scale[:, None], out=np.zeros_like(full), where=scale[:, None] > 0))
    order = codes.reshape(heads, -1, 16, dim)[:, :, TOKENS].reshape(heads, -1, dim)
    return np.ascontiguousarray(order.transpose(0, 2, 1)), scale, (values * scale[:, None])[:, :length, :channels]


def quantize_q(q: Array, rows: int, *, per_warp: bool) -> Array:
    """The values that Q's integers stand for, in warps of ``rows`` queries."""
    heads, length, _ = q.shape
    amax = np.zeros((heads, padded(length)), np.float32)
    amax[:, :length] = np.abs(q).max(-1)
    groups = amax.reshape(heads, -1, rows // 8, 8)
    top = np.broadcast_to(groups.max((2, 3) if per_warp else 2, keepdims=True), groups.shape).reshape(amax.shape)
    top = top[:, :length, None]
    inverse = np.divide(np.float32(127), top, out=np.zeros_like(top), where=top > 0)
    scale = top * np.float32(1 / 127)
    # The exact product, which float64 holds, is what is rounded.
    values: Array = np.rint(q.astype(np.float64) * inverse) * scale.astype(np.float64)
    return values


def attend(q: Array, k: Array, v: Array, logits_to_add: Array, scale: float) -> tuple[Array, Array]:
    """Attention in float64, and its lse; rows whose keys are all masked give zeros and -inf."""
    logits = q @ k.swapaxes(-1, -2) * scale + logits_to_add
    top = logits.max(-1, keepdims=True, initial=-1e300)
    p = np.exp(logits - top)
    total = p.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = (np.log(total) + np.where(total > 0, top, -np.inf))[..., 0]
    return (p / np.where(total > 0, total, 1)) @ v, lse


@dataclass(frozen=True)
class Case:
    q: tuple[int, ...] = (130,)  # tokens of each sequence: one, or several packed ones
    k: tuple[int, ...] = (200,)
    channels: int = 64
    heads: tuple[int, int] = (2, 1)
    causal: bool = False
    per_warp: bool = False
    scale: float | None = None
    mask: str = ""
    offset: float = 0.0  # of K


def pointer(array: Array) -> int:
    return int(array.ctypes.data)


class Problem:
    """Inputs, prepared operands and the expected result of one case."""

    def __init__(self, kind: Kind, case: Case) -> None:
        random = np.random.default_rng(7)
        self.kind, self.case = kind, case
        self.dim = 64 if case.channels <= 64 else 128 if case.channels <= 128 else 256
        self.warp = 16 if self.dim == 256 or case.mask else kind.warp
        self.scale = case.channels**-0.5 if case.scale is None else case.scale
        self.packed = len(case.q) > 1
        q_heads, kv_heads = case.heads
        queries, keys = sum(case.q), sum(case.k)
        self.q, self.q_bits = as16(random.standard_normal((q_heads, queries, case.channels)), bf16=kind.bf16)
        self.k, self.k_bits = as16(
            random.standard_normal((kv_heads, keys, case.channels)) + case.offset, bf16=kind.bf16
        )
        self.v, self.v_bits = as16(
            random.standard_normal((kv_heads, keys, case.channels)), bf16=kind.bf16 and not kind.smooth_v
        )
        self.rows = (keys // 128 + len(case.k)) * 128 if self.packed else padded(keys)
        # What belongs to no sequence is never zero: nothing may depend on it.
        self.k8 = np.full((kv_heads, self.rows, self.dim), 77, np.int8)
        self.k_scale = np.full((kv_heads, self.rows // kind.key_block, 4), np.nan, np.float32)
        self.v8 = np.full((kv_heads, self.dim, self.rows), 0x77, np.uint8)
        self.k_mean = np.zeros((len(case.k), kv_heads, self.dim), np.float32)
        self.v_scale = np.zeros_like(self.k_mean)
        self.v_mean: Array = random.standard_normal(self.k_mean.shape).astype(np.float32)
        self.make_mask(random, (q_heads, queries, keys))
        self.expected = np.zeros((q_heads, queries, case.channels))
        self.expected_lse = np.full((q_heads, queries), -np.inf)
        self.out = np.full(self.expected.shape, 0x7E7E, np.uint16)
        self.lse = np.full(self.expected_lse.shape, np.nan, np.float32)
        self.boundaries = [np.cumsum((0, *x), dtype=np.int32) for x in (case.q, case.k)]
        for i in range(len(case.q)):
            self.prepare(i)

    def make_mask(self, random: np.random.Generator, shape: tuple[int, int, int]) -> None:
        self.mask: Array = random.standard_normal(shape).astype(np.float32)
        self.add: Array = np.zeros(shape)
        if self.case.mask == "float":
            self.add = self.mask.astype(np.float64)
        elif self.case.mask:
            self.mask = random.random((*shape[:2], 1) if self.case.mask == "rows" else shape) > 0.3
            self.add = np.where(np.broadcast_to(self.mask, shape), 0.0, -np.inf)
        if self.case.causal:
            self.add = np.where(np.arange(shape[2]) <= np.arange(shape[1])[:, None], self.add, -np.inf)

    def prepare(self, i: int) -> None:
        """Quantize sequence i, and compute what it should give."""
        (start_q, end_q), (start_k, end_k) = ((int(x[i]), int(x[i + 1])) for x in self.boundaries)
        here_q, here_k = slice(start_q, end_q), slice(start_k, end_k)
        row = (start_k // 128 + i) * 128 if self.packed else 0
        end = row + padded(end_k - start_k)
        per_warp, group = self.case.per_warp, self.case.heads[0] // self.case.heads[1]
        block = self.kind.key_block
        part, scales, self.k_mean[i], k_values = quantize_k(self.k[:, here_k], self.dim, block, per_warp=per_warp)
        self.k8[:, row:end], self.k_scale[:, row // block : end // block] = part, scales
        v_values = self.v[:, here_k].astype(np.float64)
        if self.kind.smooth_v:
            v_values += self.v_mean[i][:, None, : self.case.channels]
        if self.kind.vmax:
            self.v8[:, :, row:end], self.v_scale[i], v_values = quantize_v(self.v[:, here_k], self.dim, self.kind.vmax)
        q = self.q[:, here_q]
        q_values = quantize_q(q, self.warp, per_warp=per_warp)
        if self.kind.qk16:
            q_values, k_values, self.k_mean[i] = q.astype(np.float64), self.k[:, here_k].astype(np.float64), 0
        add = self.add[:, : end_q - start_q, : end_k - start_k]
        self.expected[:, here_q], lse = attend(
            q_values, np.repeat(k_values, group, 0), np.repeat(v_values, group, 0), add, self.scale
        )
        mean = np.repeat(self.k_mean[i][:, : self.case.channels], group, 0).astype(np.float64)
        self.expected_lse[:, here_q] = lse + (q.astype(np.float64) * mean[:, None]).sum(-1) * self.scale

    def params(self) -> Params:
        p, case, (_, queries, channels) = Params(), self.case, self.expected.shape
        keys = self.v.shape[1]
        p.q = Rows(pointer(self.q_bits), 0, queries * channels, channels)
        p.v = Rows(pointer(self.v_bits), 0, keys * channels, channels)
        p.out = Rows(pointer(self.out), 0, queries * channels, channels)
        for name in ("v8", "v_scale", "lse", *(() if self.kind.qk16 else ("k8", "k_scale", "k_mean"))):
            setattr(p, name, pointer(getattr(self, name)))
        if self.kind.smooth_v:
            p.v_mean = pointer(self.v_mean)
        p.lse_head, p.k_rows = queries, self.rows
        p.B, (p.Hq, p.Hkv), p.Sq, p.Sk = len(case.q), case.heads, max(case.q), max(case.k)
        p.head_dim, p.causal, p.bf16, p.per_warp = channels, case.causal, self.kind.bf16, case.per_warp
        p.sm_scale, p.scale_log2 = self.scale, self.scale * math.log2(math.e)
        if case.mask:
            strides = np.broadcast_to(self.mask, self.add.shape).strides
            p.mask, p.mask_kind = pointer(self.mask), 4 if case.mask == "float" else 1
            p.mask_stride = (ctypes.c_longlong * 4)(0, *(s // self.mask.itemsize for s in strides))
        if self.packed:
            p.cu_q, p.cu_k = (pointer(x) for x in self.boundaries)
        return p

    def k_rows(self) -> Rows:
        """K in 16 bits."""
        _, keys, channels = self.k.shape
        return Rows(pointer(self.k_bits), 0, keys * channels, channels)
