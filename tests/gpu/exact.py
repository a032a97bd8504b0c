"""Inputs of five distributions, attention in float64, and the error measure that all GPU tests share."""

from __future__ import annotations

import math
from typing import Any

import torch

HALVES = (torch.float16, torch.bfloat16)
DISTRIBUTIONS = ("normal", "k_offset", "qk_offset", "v_offset", "peaked")


def inputs(
    kind: str = "normal",
    *,
    batch: int = 1,
    heads: tuple[int, int] = (4, 4),
    tokens: tuple[int, int] = (512, 512),
    head_dim: int = 64,
    dtype: Any = torch.float16,
    seed: int = 0,
) -> tuple[Any, Any, Any]:
    """``q, k, v`` as ``[B, H, S, D]``: offsets of ±10 a channel (Q's: ±1), or logits of standard deviation 4."""
    generator = torch.Generator("cuda").manual_seed(seed)

    def normal(count: int, length: int) -> Any:
        return torch.randn(batch, count, length, head_dim, device="cuda", generator=generator)

    def signs() -> Any:
        return torch.randint(0, 2, (head_dim,), device="cuda", generator=generator) * 2 - 1

    q, k, v = normal(heads[0], tokens[0]), normal(heads[1], tokens[1]), normal(heads[1], tokens[1])
    if kind in {"k_offset", "qk_offset"}:
        k = k + 10 * signs()
    if kind == "qk_offset":
        q = q + signs()
    if kind == "v_offset":
        v = v + 10 * signs()
    if kind == "peaked":
        q = q * 4
    return q.to(dtype), k.to(dtype), v.to(dtype)


def attention(
    q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None
) -> tuple[Any, Any]:
    """Result and lse in float64 for ``[B, H, S, D]``; a row that sees no key is zero."""
    repeat = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(repeat, 1), v.double().repeat_interleave(repeat, 1)
    logits = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.double()
    if causal:
        seen = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        logits = logits.masked_fill(~seen, -math.inf)
    return torch.nan_to_num(logits.softmax(-1)) @ v, logits.logsumexp(-1)


def error(out: Any, expected: Any) -> float:
    """Relative L1 error; infinite if anything is not finite."""
    total = float((out.double() - expected).abs().sum() / expected.abs().sum().clamp_min(1e-300))
    return total if math.isfinite(total) else math.inf
