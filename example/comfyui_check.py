"""Asks a ComfyUI checkout whether `--use-sage-attention` takes effect, and compares its two attention functions.

    python example/comfyui_check.py ~/ComfyUI

Run it with the Python that runs ComfyUI.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import torch

ALLOWED = 0.05
"""Relative L1 difference of one attention with 8 bits from one with 16, on normal data."""


def measure(comfyui: str) -> dict[str, Any]:
    """ComfyUI's attention functions on one self-attention of a picture of 1024 × 1024 pixels."""
    sys.path.insert(0, comfyui)
    sys.argv[1:] = ["--use-sage-attention"]  # what comfy.cli_args reads
    importlib.import_module("comfy.options").enable_args_parsing()
    attention = importlib.import_module("comfy.ldm.modules.attention")
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4096, 24 * 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    expected = attention.attention_pytorch(q, k, v, heads=24)
    got = attention.optimized_attention(q, k, v, heads=24)
    error = float((got - expected).float().abs().sum() / expected.float().abs().sum())
    chosen = attention.optimized_attention is attention.attention_sage
    return {
        "what": "ComfyUI's attention, 2 x 4096 tokens, 24 heads of 128, bfloat16",
        "function": attention.optimized_attention.__name__,
        "error": error if chosen else float("inf"),
        "allowed": ALLOWED,
    }


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    seen = measure(sys.argv[1])
    print(seen["what"])
    print(f"{seen['function']}; relative L1 difference {seen['error']:.4f} (allowed {ALLOWED})")
    return 0 if seen["error"] <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
