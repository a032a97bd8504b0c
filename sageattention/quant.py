"""The quantizers by themselves, for those who build on them; the attention functions do not call these.

``HND`` is ``[B, H, S, D]`` and ``NHD`` ``[B, S, H, D]``; 16-bit tensors on a CUDA device. Scales are float32 and
``[B, H, ...]`` in both layouts, and x ≈ int8 · scale (+ mean).
"""

from __future__ import annotations

from typing import Optional, Tuple

from sageattention import _native

_native.load()  # the operators exist from here on

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from sageattention import _arguments, _ops  # noqa: E402

_LOG2_E = 1.4426950408889634


def per_block_int8(
    q: Tensor,
    k: Tensor,
    km: Optional[Tensor] = None,
    BLKQ: int = 128,
    BLKK: int = 64,
    sm_scale: Optional[float] = None,
    tensor_layout: str = "HND",
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Int8 Q and K with one scale for ``BLKQ`` and ``BLKK`` tokens (16, 32, 64 or 128).

    Returns q8 (q's shape), its scales ``[B, Hq, ceil(Sq / BLKQ)]`` times sm_scale · log2(e), k8 (k's shape), its scales
    ``[B, Hkv, ceil(Sk / BLKK)]``. ``km`` (``[B, Hkv, D]``, or with a dimension of 1 for the tokens) is taken from K.
    """
    layout = _arguments.layout_code(tensor_layout)
    q8, q_scale = _ops.quantize_int8(q, None, layout, BLKQ, "per_warp")
    k8, k_scale = _ops.quantize_int8(k, _mean(km, k, layout), layout, BLKK, "per_warp")
    return q8, q_scale * (_arguments.scale(sm_scale, q.shape[-1]) * _LOG2_E), k8, k_scale


def per_warp_int8(
    q: Tensor,
    k: Tensor,
    km: Optional[Tensor] = None,
    tensor_layout: str = "HND",
    BLKQ: int = 128,
    WARPQ: int = 32,
    BLKK: int = 64,
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Int8 Q and K with one scale for ``WARPQ`` rows of Q and for ``BLKK`` tokens of K (16, 32, 64 or 128).

    Returns q8 (q's shape), its scales ``[B, Hq, ceil(Sq / BLKQ) · (BLKQ / WARPQ)]``, those of absent rows 0, without
    sm_scale; k8 (k's shape), its scales ``[B, Hkv, ceil(Sk / BLKK)]``. ``km`` as in `per_block_int8`.
    """
    layout = _arguments.layout_code(tensor_layout)
    if BLKQ % WARPQ:
        raise ValueError(f"BLKQ is {BLKQ} and WARPQ {WARPQ}; BLKQ must be a multiple of WARPQ")
    q8, q_scale = _ops.quantize_int8(q, None, layout, WARPQ, "per_warp")
    k8, k_scale = _ops.quantize_int8(k, _mean(km, k, layout), layout, BLKK, "per_warp")
    absent = -q_scale.shape[-1] % (BLKQ // WARPQ)
    return q8, torch.nn.functional.pad(q_scale, (0, absent)), k8, k_scale


def sub_mean(v: Tensor, tensor_layout: str = "HND") -> Tuple[Tensor, Tensor]:
    """V less its mean over the tokens, in V's dtype and shape, and that mean, float32 ``[B, H, D]``."""
    tokens = 2 if _arguments.layout_code(tensor_layout) == 0 else 1
    mean = v.mean(tokens, keepdim=True, dtype=torch.float32)
    return (v.float() - mean).to(v.dtype), mean.squeeze(tokens)


def per_channel_fp8(
    v: Tensor, tensor_layout: str = "HND", scale_max: float = 448.0, smooth_v: bool = True
) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
    """V as e4m3 with one scale a channel, transposed for the FP8 kernels; head dims up to 128.

    Returns v8 ``[B, H, D', S']`` (D' is 64 or 128, S' a multiple of 128, padding is zero; inside each 16 tokens the
    order is 0 1 8 9 2 3 10 11 4 5 12 13 6 7 14 15), its scales ``[B, H, D']`` (the largest magnitude of a channel
    becomes ``scale_max``), and the mean ``[B, H, D']`` that was taken out first, or None without ``smooth_v``.
    """
    v8, scale, mean = _ops.quantize_v(v, _arguments.layout_code(tensor_layout), float(scale_max), smooth_v)
    return v8, scale, mean if smooth_v else None


def _mean(km: Optional[Tensor], k: Tensor, layout: int) -> Optional[Tensor]:
    if km is None:
        return None
    heads = k.shape[1 if layout == 0 else 2]
    return km.reshape(k.shape[0], heads, k.shape[-1]).float()
