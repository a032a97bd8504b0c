"""Let sageattn answer torch's scaled_dot_product_attention, in any model, without touching the model.

What sageattn does not do (dropout, gradients, other dtypes, CPU tensors) goes to torch's own function, so a model never
breaks; everything it does is counted, so that you see whether it was used.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional

from sageattention import sageattn

MAX_HEAD_DIM = 256
ALLOWED = 0.05
"""Relative L1 difference of a model's output, with 8 bits in every attention in place of 16."""


@contextmanager
def sage_everywhere() -> Iterator[Counter[str]]:
    """Swap torch.nn.functional.scaled_dot_product_attention while the block runs; yields who answered how often."""
    original = functional.scaled_dot_product_attention
    answered: Counter[str] = Counter()

    def attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002 - torch's own signature
        scale: float | None = None,
        **options: Any,
    ) -> torch.Tensor:
        wants_grad = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
        if (
            not query.is_cuda
            or query.dtype not in (torch.float16, torch.bfloat16)
            or query.dim() != 4
            or query.size(-1) > MAX_HEAD_DIM
            or query.size(-1) != value.size(-1)
            or dropout_p
            or wants_grad
        ):
            answered["torch"] += 1
            return original(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **options)
        answered["sageattn"] += 1
        return sageattn(query, key, value, is_causal=is_causal, sm_scale=scale, attn_mask=attn_mask)

    functional.scaled_dot_product_attention = attention
    try:
        yield answered
    finally:
        functional.scaled_dot_product_attention = original


def measure(layers: int = 4, tokens: int = 2048) -> dict[str, Any]:
    """A transformer of torch's own with random weights, as it is and with the swap."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(1024, 16, batch_first=True, norm_first=True)
    model = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False).half().cuda().train(mode=False)
    for part in model.layers:
        # The usual first weights make attention little more than a mean. With these, leaving attention out changes the
        # model's output by more than half.
        torch.nn.init.normal_(part.self_attn.in_proj_weight, std=1.4 * 1024**-0.5)
        torch.nn.init.normal_(part.self_attn.out_proj.weight, std=1024**-0.5)
    # The fast path of nn.TransformerEncoder never calls scaled_dot_product_attention.
    torch.backends.mha.set_fastpath_enabled(False)
    inputs = torch.randn(2, tokens, 1024, device="cuda", dtype=torch.float16)
    with torch.no_grad():
        expected = model(inputs)
        with sage_everywhere() as answered:
            got = model(inputs)
    error = float((got - expected).float().abs().sum() / expected.float().abs().sum())
    return {
        "what": f"torch.nn.TransformerEncoder, {layers} layers, 2 x {tokens} tokens, random weights, float16",
        "answered": dict(answered),
        "error": error if answered["sageattn"] == layers else float("inf"),
        "allowed": ALLOWED,
    }


def main() -> int:
    seen = measure()
    print(seen["what"])
    print(f"answered by {seen['answered']}; relative L1 difference {seen['error']:.4f} (allowed {ALLOWED})")
    return 0 if seen["error"] <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
