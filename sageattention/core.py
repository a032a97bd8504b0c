"""The public functions. Each checks its arguments, asks the table which kernel serves them, and calls one operator.

In all of them ``q`` is ``[B, Hq, Sq, D]`` and ``k``, ``v`` are ``[B, Hkv, Sk, D]`` (``tensor_layout="HND"``) or with
heads and tokens exchanged (``"NHD"``), float16 or bfloat16, any strides; Hq is a multiple of Hkv. The result has q's
shape and dtype and is contiguous. With ``return_lse`` it is a pair: lse is float32 ``[B, Hq, Sq]`` in both layouts, the
natural logarithm of the softmax denominator. ``is_causal`` counts from the top left, as PyTorch does: query i sees
keys 0 to i. ``attn_mask`` broadcasts to ``[B, Hq, Sq, Sk]``: bool (True takes part) or additive, of q's dtype or
float32, and goes together with ``is_causal``; a row that sees no key is zero, and its lse is -inf. ``smooth_k`` takes
K's mean over the tokens out before it is quantized, which changes nothing but the accuracy.

All raise TypeError or ValueError for arguments they cannot honour, RuntimeError where the GPU cannot, or where an input
requires grad.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple, Union

# First of all: a wheel that does not fit says so here.
from sageattention import _device  # isort: skip

import torch

from sageattention import _arguments, _dispatch, _explain, _ops

__version__ = _device.RECORD.version

Result = Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]

SM80_ENABLED = bool(_device.RECORD.archs)
"""Whether this wheel has the 8+16 kernels (INT8 QK, FP16 PV)."""
SM89_ENABLED = any("f8" in _dispatch.paths_of(arch, _device.RECORD.cuda) for arch in _device.RECORD.archs)
"""Whether this wheel has the 8+8 kernels of mma.sync (INT8 QK, FP8 PV)."""
SM90_ENABLED = "sm_90a" in _device.RECORD.archs
"""Whether this wheel has the 8+8 kernels of Hopper's wgmma."""

_QKV = ("q", "k", "v", "tensor_layout", "is_causal", "sm_scale", "attn_mask", "return_lse")
_CUDA = (*_QKV, "qk_quant_gran", "pv_accum_dtype", "smooth_k")


def get_cuda_arch_versions() -> List[str]:
    """``["sm90", ...]``: the compute capability of every visible GPU."""
    return [
        f"sm{major}{minor}" for major, minor in map(torch.cuda.get_device_capability, range(torch.cuda.device_count()))
    ]


def sageattn(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    is_causal: bool = False,
    sm_scale: Optional[float] = None,
    return_lse: bool = False,
    attn_mask: Optional[torch.Tensor] = None,
    **kwargs: Any,
) -> Result:
    """Attention by the best kernel for the GPU: FP8 PV where its tensor cores have FP8, else FP16 PV; see `explain`.

    QK is INT8, but on Hopper 16-bit where quantizing would take longer than it saves: head dims up to 64, and short q.
    Head dims up to 256; from 129 on the FP16 kernels serve every GPU. ``smooth_k`` is accepted, and a K that is
    quantized is always smoothed: the result can only be nearer to the exact one.
    """
    if kwargs:
        kwargs.pop("smooth_k", None)
        _arguments.no_more("sageattn", kwargs, (*_QKV, "smooth_k"))
    layout, _ = _checked("sageattn", q, k, v, tensor_layout, attn_mask, _device.LIMIT)
    small, unquantized, large = _device.choices(_device.index(q))
    if q.shape[3] > _device.FP8_LIMIT:
        path, gran, accum = large
    elif small == unquantized or _quantizes_qk(q, k, layout, is_causal, attn_mask, sm_scale):
        path, gran, accum = small
    else:
        path, gran, accum = unquantized
    return _attend(q, k, v, attn_mask, layout, is_causal, sm_scale, path, gran, accum, True, False, return_lse)


def sageattn_qk_int8_pv_fp16_cuda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    is_causal: bool = False,
    qk_quant_gran: str = "per_thread",
    sm_scale: Optional[float] = None,
    pv_accum_dtype: str = "fp32",
    smooth_k: bool = True,
    smooth_v: bool = False,
    return_lse: bool = False,
    attn_mask: Optional[torch.Tensor] = None,
    **kwargs: Any,
) -> Result:
    """INT8 QK, FP16 PV; runs on every GPU from compute capability 8.0 on, with head dims up to 256.

    ``pv_accum_dtype``: ``"fp32"``, ``"fp16"``, or ``"fp16+fp32"`` (FP16 within a block of keys, FP32 across them).
    ``smooth_v`` takes V's mean out and adds it to the result; it matters for ``"fp16"`` and is ignored otherwise.
    """
    if kwargs:
        _arguments.no_more("sageattn_qk_int8_pv_fp16_cuda", kwargs, (*_CUDA, "smooth_v"))
    family = _dispatch.PATHS["f16"]
    _arguments.option("qk_quant_gran", qk_quant_gran, family.granularity)
    _arguments.option("pv_accum_dtype", pv_accum_dtype, family.accumulators)
    layout, _ = _checked("sageattn_qk_int8_pv_fp16_cuda", q, k, v, tensor_layout, attn_mask, family.max_head_dim)
    _device.choices(_device.index(q))
    smooth_v = smooth_v and pv_accum_dtype == "fp16"
    return _attend(
        q,
        k,
        v,
        attn_mask,
        layout,
        is_causal,
        sm_scale,
        "f16",
        qk_quant_gran,
        pv_accum_dtype,
        smooth_k,
        smooth_v,
        return_lse,
    )


def sageattn_qk_int8_pv_fp8_cuda(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    is_causal: bool = False,
    qk_quant_gran: str = "per_thread",
    sm_scale: Optional[float] = None,
    pv_accum_dtype: str = "fp32+fp16",
    smooth_k: bool = True,
    smooth_v: bool = False,
    return_lse: bool = False,
    attn_mask: Optional[torch.Tensor] = None,
    **kwargs: Any,
) -> Result:
    """INT8 QK, FP8 PV; needs FP8 tensor cores (compute capability 8.9, 9.0, 12.x) and a head dim up to 128.

    ``pv_accum_dtype``: ``"fp32"`` and ``"fp32+fp32"`` (each block of keys summed alone, then added in FP32; FP8 tensor
    cores sum with 13 bits, and this costs nothing), or ``"fp32+fp16"`` (each block summed in FP16). Where there is no
    FP16 sum, with a mask or with CUDA before 12.8, ``"fp32+fp32"`` serves in its place and is no less accurate.
    ``smooth_v`` takes V's mean out and adds it to the result; it is for ``"fp32"`` and ignored otherwise.
    """
    if kwargs:
        _arguments.no_more("sageattn_qk_int8_pv_fp8_cuda", kwargs, (*_CUDA, "smooth_v"))
    family = _dispatch.PATHS["f8"]
    _arguments.option("qk_quant_gran", qk_quant_gran, family.granularity)
    _arguments.option("pv_accum_dtype", pv_accum_dtype, family.accumulators)
    layout, _ = _checked("sageattn_qk_int8_pv_fp8_cuda", q, k, v, tensor_layout, attn_mask, family.max_head_dim)
    path, offered = _device.fp8(_device.index(q))
    smooth_v = smooth_v and pv_accum_dtype == "fp32"
    accum = pv_accum_dtype if pv_accum_dtype in offered else "fp32+fp32"
    return _attend(
        q, k, v, attn_mask, layout, is_causal, sm_scale, path, qk_quant_gran, accum, smooth_k, smooth_v, return_lse
    )


def sageattn_qk_int8_pv_fp8_cuda_sm90(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    is_causal: bool = False,
    qk_quant_gran: str = "per_thread",
    sm_scale: Optional[float] = None,
    pv_accum_dtype: str = "fp32+fp32",
    smooth_k: bool = True,
    return_lse: bool = False,
    attn_mask: Optional[torch.Tensor] = None,
    **kwargs: Any,
) -> Result:
    """INT8 QK, FP8 PV by Hopper's wgmma; needs compute capability 9.0 and a head dim up to 128."""
    if kwargs:
        _arguments.no_more("sageattn_qk_int8_pv_fp8_cuda_sm90", kwargs, _CUDA)
    family = _dispatch.PATHS["f8_sm90"]
    _arguments.option("qk_quant_gran", qk_quant_gran, family.granularity)
    _arguments.option("pv_accum_dtype", pv_accum_dtype, family.accumulators)
    layout, _ = _checked("sageattn_qk_int8_pv_fp8_cuda_sm90", q, k, v, tensor_layout, attn_mask, family.max_head_dim)
    path, _ = _device.fp8(_device.index(q))
    if path != "f8_sm90":
        raise RuntimeError(
            "sageattn_qk_int8_pv_fp8_cuda_sm90 needs a GPU of compute capability 9.0; sageattn picks the kernel for "
            "this one"
        )
    return _attend(
        q,
        k,
        v,
        attn_mask,
        layout,
        is_causal,
        sm_scale,
        path,
        qk_quant_gran,
        pv_accum_dtype,
        smooth_k,
        False,
        return_lse,
    )


def sageattn_qk_int8_pv_fp16_triton(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str = "HND",
    quantization_backend: str = "triton",
    is_causal: bool = False,
    attn_mask: Optional[torch.Tensor] = None,
    sm_scale: Optional[float] = None,
    smooth_k: bool = True,
    return_lse: bool = False,
    **kwargs: Any,
) -> Result:
    """INT8 QK with one scale per block, FP16 PV, in Triton; needs the triton that this torch brings.

    ``quantization_backend`` says what quantizes Q and K: ``"triton"``, or ``"cuda"`` for the native quantizer.
    """
    if kwargs:
        _arguments.no_more("sageattn_qk_int8_pv_fp16_triton", kwargs, (*_QKV, "quantization_backend", "smooth_k"))
    _arguments.option("quantization_backend", quantization_backend, ("triton", "cuda"))
    layout, head_dim = _checked("sageattn_qk_int8_pv_fp16_triton", q, k, v, tensor_layout, attn_mask, _device.LIMIT)
    native = quantization_backend == "cuda"
    if native:
        _device.choices(_device.index(q))
    out, lse = _ops.attention_triton(
        _rows(q),
        _rows(k),
        _rows(v),
        attn_mask,
        layout,
        bool(is_causal),
        _arguments.scale(sm_scale, head_dim),
        native,
        bool(smooth_k),
        bool(return_lse),
    )
    return (out, lse) if return_lse else out


def sageattn_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    is_causal: bool = False,
    sm_scale: Optional[float] = None,
    smooth_k: bool = True,
    return_lse: bool = False,
    **kwargs: Any,
) -> Result:
    """Attention within each of several sequences packed one after the other: INT8 QK, FP16 PV.

    ``q`` is ``[total_q, Hq, D]``, ``k`` and ``v`` are ``[total_k, Hkv, D]``. Sequence i is rows ``cu_seqlens[i]`` to
    ``cu_seqlens[i + 1]`` (int32, on the device); it may be empty, and its query and key lengths may differ. K is
    smoothed by each sequence's own mean. lse is ``[Hq, total_q]``.
    """
    if kwargs:
        known = ("q", "k", "v", "cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "is_causal", "sm_scale")
        _arguments.no_more("sageattn_varlen", kwargs, (*known, "smooth_k", "return_lse"))
    _arguments.tensors("sageattn_varlen", q, k, v, 3)
    head_dim = _arguments.head_dim("sageattn_varlen", _arguments.packed(q, k, v), _device.LIMIT)
    cu_seqlens_q = _arguments.offsets("cu_seqlens_q", cu_seqlens_q, q)
    cu_seqlens_k = _arguments.offsets("cu_seqlens_k", cu_seqlens_k, q)
    if cu_seqlens_q.shape[0] != cu_seqlens_k.shape[0]:
        raise ValueError("cu_seqlens_q and cu_seqlens_k must have the same length, one more than the sequences")
    _device.choices(_device.index(q))
    out, lse = _ops.attention_varlen(
        *(_rows(x) for x in (q, k, v)),
        cu_seqlens_q,
        cu_seqlens_k,
        int(max_seqlen_q),
        int(max_seqlen_k),
        bool(is_causal),
        _arguments.scale(sm_scale, head_dim),
        "f16",
        "per_thread",
        "fp32",
        bool(smooth_k),
        bool(return_lse),
    )
    return (out, lse) if return_lse else out


def explain(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, tensor_layout: str = "HND", **kwargs: Any
) -> _explain.Explanation:
    """What `sageattn` would run for these tensors on their GPU, and why; print it. Takes sageattn's arguments."""
    attn_mask, lse = kwargs.pop("attn_mask", None), bool(kwargs.pop("return_lse", False))
    is_causal, sm_scale = bool(kwargs.pop("is_causal", False)), kwargs.pop("sm_scale", None)
    kwargs.pop("smooth_k", None)
    _arguments.no_more("explain", kwargs, (*_QKV, "smooth_k"))
    layout, head_dim = _checked("explain", q, k, v, tensor_layout, attn_mask, _device.LIMIT)
    index = _device.index(q)
    capability = _device.capability(index)
    dtype = "bf16" if q.dtype == torch.bfloat16 else "f16"
    name = torch.cuda.get_device_name(index)
    quantized = _quantizes_qk(q, k, layout, is_causal, attn_mask, sm_scale)
    return _explain.explain(_device.RECORD, name, capability, dtype, head_dim, attn_mask is not None, lse, quantized)


def _attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    attn_mask: Optional[torch.Tensor],
    layout: int,
    is_causal: bool,
    sm_scale: Optional[float],
    path: str,
    gran: str,
    accum: str,
    smooth_k: bool,
    smooth_v: bool,
    return_lse: bool,
) -> Result:
    out, lse = _ops.attention(
        _rows(q),
        _rows(k),
        _rows(v),
        attn_mask,
        layout,
        bool(is_causal),
        _arguments.scale(sm_scale, q.shape[3]),
        path,
        gran,
        accum,
        bool(smooth_k),
        bool(smooth_v),
        bool(return_lse),
    )
    return (out, lse) if return_lse else out


def _checked(
    function: str,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    tensor_layout: str,
    attn_mask: Optional[torch.Tensor],
    limit: int,
) -> Tuple[int, int]:
    """All checks of a dense call. Returns the layout's code and the head dim."""
    layout = _arguments.layout_code(tensor_layout)
    _arguments.tensors(function, q, k, v, 4)
    batch, heads, queries, keys, size = _arguments.dense(q, k, v, layout)
    _arguments.head_dim(function, size, limit)
    _arguments.mask(attn_mask, q, (batch, heads, queries, keys))
    return layout, size


def _quantizes_qk(
    q: torch.Tensor,
    k: torch.Tensor,
    layout: int,
    is_causal: bool,
    attn_mask: Optional[torch.Tensor],
    sm_scale: Optional[float],
) -> bool:
    """`_dispatch.quantizes_qk` of a call."""
    heads, tokens = 1 + layout, 2 - layout
    rows = q.shape[tokens] * q.shape[heads] // max(1, k.shape[heads])
    scale = _arguments.scale(sm_scale, q.shape[3])
    return _dispatch.quantizes_qk(q.shape[3], rows, is_causal, attn_mask is not None, scale)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """``x`` with a contiguous last dimension."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
