"""What the entry points accept, and the errors that say so. Everything here is traced by torch.compile."""

from __future__ import annotations

import difflib
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch

LAYOUTS = {"HND": 0, "NHD": 1}
DTYPES = (torch.float16, torch.bfloat16)

# Names that other attention functions use for the same thing.
_SYNONYMS = {
    "scale": "sm_scale",
    "softmax_scale": "sm_scale",
    "causal": "is_causal",
    "mask": "attn_mask",
    "attention_mask": "attn_mask",
    "bias": "attn_mask",
    "attn_bias": "attn_mask",
    "layout": "tensor_layout",
    "return_softmax_lse": "return_lse",
}
# Arguments that may be passed to any entry point as long as they ask for nothing.
_ASKS_NOTHING: Dict[str, Callable[[Any], bool]] = {
    "attn_mask": lambda value: value is None,
    "dropout_p": lambda value: value == 0,
    "smooth_v": lambda value: not value,
}


def layout_code(tensor_layout: str) -> int:
    """0 for ``"HND"`` ``[B, H, S, D]``, 1 for ``"NHD"`` ``[B, S, H, D]``."""
    if tensor_layout == "HND":
        return 0
    if tensor_layout == "NHD":
        return 1
    raise ValueError(f"tensor_layout is {tensor_layout!r}; it must be 'HND' ([B, H, S, D]) or 'NHD' ([B, S, H, D])")


def option(name: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, allowed))}")
    return value


def no_more(function: str, given: Dict[str, Any], known: Sequence[str]) -> None:
    """Refuse keyword arguments that ``function`` does not have, unless they ask for nothing."""
    for name, value in given.items():
        asks_nothing = _ASKS_NOTHING.get(name)
        if asks_nothing is None:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{_nearest(name, known)}")
        if not asks_nothing(value):
            if name == "dropout_p":
                raise ValueError(f"dropout_p is {value!r}; {function} has no dropout, so it must be 0")
            raise ValueError(f"{name} is given, and {function} does not offer it")


def _nearest(name: str, known: Sequence[str]) -> str:
    if name in _SYNONYMS and _SYNONYMS[name] in known:
        return f"; did you mean {_SYNONYMS[name]}?"
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else f"; it takes {', '.join(known)}"


def scale(sm_scale: Optional[float], head_dim: int) -> float:
    """The softmax scale: ``sm_scale``, or the inverse square root of the head dim."""
    if sm_scale is None:
        return float(max(head_dim, 1)) ** -0.5
    if isinstance(sm_scale, torch.Tensor):
        raise TypeError("sm_scale is a tensor; it must be a number (a tensor's value would have to be waited for)")
    return float(sm_scale)


def tensors(function: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, dims: int) -> None:
    """Type, rank, dtype, device and gradient of the three; shapes are `dense`'s and `packed`'s business."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not isinstance(x, torch.Tensor):
            raise TypeError(f"{name} is a {type(x).__name__}; {function} takes torch tensors")
        if x.dim() != dims:
            raise ValueError(f"{name} has shape {_shape(x)}; {function} takes {dims} dimensions")
    if q.dtype not in DTYPES or k.dtype != q.dtype or v.dtype != q.dtype:
        raise TypeError(
            f"q, k, v are {_name(q.dtype)}, {_name(k.dtype)}, {_name(v.dtype)}; they must all be float16 or all "
            "bfloat16"
        )
    if q.device.type != "cuda" or k.device != q.device or v.device != q.device:
        raise ValueError(f"q, k, v are on {q.device}, {k.device}, {v.device}; they must be on one CUDA device")
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise RuntimeError(
            f"{function} has no backward pass and q, k or v requires grad; call it under torch.no_grad(), or pass "
            "detached tensors"
        )


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, layout: int) -> Tuple[int, int, int, int, int]:
    """Check the shapes of a 4-D call. Returns batch, query heads, query length, key length, head dim."""
    heads, tokens = (1, 2) if layout == 0 else (2, 1)
    batch, head_dim = q.shape[0], q.shape[3]
    if k.shape != v.shape or k.shape[0] != batch or k.shape[3] != head_dim:
        raise ValueError(
            f"q, k, v have shapes {_shape(q)}, {_shape(k)}, {_shape(v)}; k and v must have one shape, and the batch "
            "and head dim of q"
        )
    _grouped(q.shape[heads], k.shape[heads])
    return batch, q.shape[heads], q.shape[tokens], k.shape[tokens], head_dim


def packed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> int:
    """Check the shapes of a variable-length call, ``[total, H, D]``. Returns the head dim."""
    if k.shape != v.shape or k.shape[2] != q.shape[2]:
        raise ValueError(
            f"q, k, v have shapes {_shape(q)}, {_shape(k)}, {_shape(v)}; k and v must have one shape, and q's head dim"
        )
    _grouped(q.shape[1], k.shape[1])
    return q.shape[2]


def offsets(name: str, cu_seqlens: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Cumulative lengths ``[sequences + 1]`` as int32 on q's device."""
    if not isinstance(cu_seqlens, torch.Tensor) or cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 1:
        raise ValueError(f"{name} must be a tensor of one dimension: 0, then the running total of the lengths")
    if cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"{name} is {_name(cu_seqlens.dtype)}; it must be int32")
    if cu_seqlens.device != q.device:
        raise ValueError(f"{name} is on {cu_seqlens.device} and q on {q.device}; they must be on one device")
    return cu_seqlens.to(torch.int32).contiguous()


def head_dim(function: str, size: int, largest: int) -> int:
    if size < 1 or size > largest:
        raise ValueError(f"the head dim is {size}; {function} takes 1 to {largest} here")
    return size


def mask(attn_mask: Optional[torch.Tensor], q: torch.Tensor, sizes: Tuple[int, int, int, int]) -> None:
    """Check a mask against ``[B, Hq, Sq, Sk]``: bool (True takes part) or additive (natural units)."""
    if attn_mask is None:
        return
    if not isinstance(attn_mask, torch.Tensor):
        raise TypeError(f"attn_mask is a {type(attn_mask).__name__}; it must be a tensor or None")
    if attn_mask.dtype not in (torch.bool, q.dtype, torch.float32):
        raise TypeError(f"attn_mask is {_name(attn_mask.dtype)}; it must be bool, {_name(q.dtype)} or float32")
    if attn_mask.device != q.device:
        raise ValueError(f"attn_mask is on {attn_mask.device} and q on {q.device}; they must be on one device")
    if torch.is_grad_enabled() and attn_mask.requires_grad:
        raise RuntimeError("attn_mask requires grad, and there is no backward pass; pass attn_mask.detach()")
    ours = tuple(attn_mask.shape)
    fits = len(ours) <= len(sizes)
    for mine, full in zip(ours[::-1], sizes[::-1]):
        fits = fits and mine in (1, full)
    if not fits:
        raise ValueError(f"attn_mask has shape {list(ours)}; it must broadcast to [B, Hq, Sq, Sk] = {list(sizes)}")


def _grouped(query_heads: int, kv_heads: int) -> None:
    if (kv_heads == 0 and query_heads != 0) or (kv_heads != 0 and query_heads % kv_heads != 0):
        raise ValueError(f"q has {query_heads} heads and k, v have {kv_heads}; q's must be a multiple of theirs")


def _shape(x: torch.Tensor) -> str:
    return str(list(x.shape))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).replace("torch.", "")
