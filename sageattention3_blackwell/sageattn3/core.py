"""The public function: checks its arguments, decides whether FP4 can serve them, and calls one operator."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Union

import torch
from torch import Tensor

from sageattn3 import _native

_record = _native.load()

from sageattn3 import _ops  # noqa: E402 - the operators exist once the library is loaded

__version__ = _record.version

MAX_HEAD_DIM = 128
_LAYOUTS = {"HND": 0, "NHD": 1}


def sageattn3_blackwell(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor] = None,
    is_causal: bool = False,
    per_block_mean: bool = True,
    tensor_layout: str = "HND",
    sm_scale: Optional[float] = None,
    return_lse: bool = False,
    fallback: Optional[str] = None,
    **kwargs: Any,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Attention with Q, K, P and V in NVFP4 (4-bit values, one scale for 16), for GPUs of compute capability 12.x.

    q is ``[B, Hq, Sq, D]`` (``"NHD"``: ``[B, Sq, Hq, D]``), k and v ``[B, Hkv, Sk, D]``: float16 or bfloat16, on one
    CUDA device, D 1 to 128, Hq a multiple of Hkv. None of them is changed.

    - ``attn_mask``: the kernels have none; a mask raises, or is served by the fallback.
    - ``is_causal``: query i sees keys 0..i (aligned top left, as torch's scaled_dot_product_attention).
    - ``per_block_mean``: subtract from Q the mean of each 128 tokens; False: of the whole sequence, which needs less
      scratch memory and is a little less exact.
    - ``sm_scale``: any finite number; ``D ** -0.5`` if None. ``scale=`` is taken as the same.
    - ``return_lse``: return ``(out, lse)``, lse float32 ``[B, Hq, Sq]``, natural logarithm of the sum over the keys.
    - ``fallback``: ``"sageattention"`` hands the call to that package's ``sageattn`` where these kernels cannot serve
      it: on another GPU, with a mask, or with D over 128. None: such a call raises.
    - ``kwargs``: ``dropout_p=0`` is accepted; anything else raises TypeError.

    Returns the output in q's dtype and shape, contiguous. Raises TypeError and ValueError for arguments that do not
    fit, NotImplementedError for a mask and RuntimeError for a GPU without these kernels (both only without a fallback).
    """
    scale = kwargs.pop("scale", None)
    if scale is not None and sm_scale is not None:
        raise TypeError("sageattn3_blackwell() got both sm_scale and scale; they mean the same")
    dropout = kwargs.pop("dropout_p", 0.0)
    if dropout:
        raise ValueError(f"dropout_p is {dropout!r}; sageattn3_blackwell has no dropout, so it must be 0")
    if kwargs:
        raise TypeError(f"sageattn3_blackwell() got an unexpected keyword argument {next(iter(kwargs))!r}")
    if fallback not in (None, "sageattention"):
        raise ValueError(f"fallback is {fallback!r}; it must be None or 'sageattention'")
    _check_tensors(q, k, v, tensor_layout)
    scale = sm_scale if sm_scale is not None else scale

    obstacle = _obstacle(q, attn_mask)
    if obstacle is not None:
        if fallback is None:
            raise obstacle
        return _fall_back(q, k, v, attn_mask, is_causal, tensor_layout, scale, return_lse)
    out, lse = _ops.attention(
        q,
        k,
        v,
        _LAYOUTS[tensor_layout],
        bool(is_causal),
        float(q.shape[-1]) ** -0.5 if scale is None else float(scale),
        bool(per_block_mean),
        bool(return_lse),
    )
    return (out, lse) if return_lse else out


def _check_tensors(q: Tensor, k: Tensor, v: Tensor, tensor_layout: str) -> None:
    if tensor_layout not in _LAYOUTS:
        raise ValueError(f"tensor_layout is {tensor_layout!r}; it must be 'HND' ([B, H, S, D]) or 'NHD' ([B, S, H, D])")
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} is a {type(x).__name__}; sageattn3_blackwell takes torch tensors")
        if x.dim() != 4:  # noqa: PLR2004 - batch, heads, tokens, channels
            raise ValueError(f"{name} has shape {list(x.shape)}; sageattn3_blackwell takes 4 dimensions")
    if q.dtype not in (torch.float16, torch.bfloat16) or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(f"q, k, v are {q.dtype}, {k.dtype}, {v.dtype}; they must all be float16 or all bfloat16")
    if q.device.type != "cuda" or k.device != q.device or v.device != q.device:
        raise ValueError(f"q, k, v are on {q.device}, {k.device}, {v.device}; they must be on one CUDA device")
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise RuntimeError(
            "sageattn3_blackwell has no backward pass and q, k or v requires grad; call it under torch.no_grad(), or "
            "pass detached tensors"
        )


def _obstacle(q: Tensor, attn_mask: Optional[Tensor]) -> Optional[Exception]:
    """Why the FP4 kernels cannot serve a call that another kernel could, or None."""
    if attn_mask is not None:
        return NotImplementedError(
            "sageattn3_blackwell has no attn_mask; use sageattention's sageattn(attn_mask=...), or pass "
            'fallback="sageattention"'
        )
    if not 1 <= q.shape[-1] <= MAX_HEAD_DIM:
        return ValueError(
            f"the head dim is {q.shape[-1]}; sageattn3_blackwell takes 1 to {MAX_HEAD_DIM}, and sageattention's "
            'sageattn up to 256 (fallback="sageattention")'
        )
    sentence = _unsupported(q.device.index)
    return None if sentence is None else RuntimeError(sentence)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _unsupported(index: int) -> Optional[str]:
    name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
    return _native.unsupported(_record, name, capability)


def _fall_back(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attn_mask: Optional[Tensor],
    is_causal: bool,
    tensor_layout: str,
    scale: Optional[float],
    return_lse: bool,
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    try:
        from sageattention import sageattn  # noqa: PLC0415 - needed for the fallback alone
    except ImportError as error:
        raise RuntimeError(f'fallback="sageattention" needs that package: {error}') from None
    result: Union[Tensor, Tuple[Tensor, Tensor]] = sageattn(
        q,
        k,
        v,
        tensor_layout=tensor_layout,
        is_causal=is_causal,
        sm_scale=scale,
        return_lse=return_lse,
        attn_mask=attn_mask,
    )
    return result
