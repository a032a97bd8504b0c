"""What taking K's mean out before INT8 gains, on five kinds of data: why `sageattn` always does.

    python bench/smooth_k.py [--out bench/results/smooth_k.json]

Computed by the package's plain-PyTorch reference, which quantizes exactly as the kernels do; needs no GPU. Errors are
relative L1 against float64, means over three seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
package = types.ModuleType("sageattention")  # its submodules, without the native library
package.__path__ = [str(ROOT / "sageattention")]
sys.modules.setdefault("sageattention", package)

from sageattention import reference  # noqa: E402 - from this checkout

TOKENS, HEAD_DIM, HEADS, SEEDS = 1024, 128, 2, 3
PATHS = {"f16": "fp32", "f8_sm90": "fp32+fp32"}


def inputs(kind: str, seed: int) -> tuple[torch.Tensor, ...]:
    """Normal q, k, v ``[1, H, S, D]`` in bfloat16; offsets of ±10 (Q's: ±1) a channel, or logits of deviation 4."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, HEADS, TOKENS, HEAD_DIM, generator=generator) for _ in "qkv")
    signs = torch.randint(0, 2, (3, HEAD_DIM), generator=generator) * 2.0 - 1
    if kind in {"k_offset", "qk_offset"}:
        k += 10 * signs[0]
    if kind == "qk_offset":
        q += signs[1]
    if kind == "v_offset":
        v += 10 * signs[2]
    if kind == "peaked":
        q *= 4
    return tuple(x.bfloat16() for x in (q, k, v))


def error(kind: str, path: str, *, smooth: bool) -> float:
    total = 0.0
    for seed in range(SEEDS):
        q, k, v = inputs(kind, seed)
        out, _ = reference.attention(q, k, v, path=path, pv_accum_dtype=PATHS[path], smooth_k=smooth)
        logits = q.double() @ k.double().transpose(-1, -2) * HEAD_DIM**-0.5
        expected = logits.softmax(-1) @ v.double()
        total += float((out.double() - expected).abs().sum() / expected.abs().sum())
    return round(total / SEEDS, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rows = {
        f"{path} {kind}": {"smooth_k": error(kind, path, smooth=True), "plain": error(kind, path, smooth=False)}
        for path in PATHS
        for kind in ("normal", "k_offset", "qk_offset", "v_offset", "peaked")
    }
    for name, row in rows.items():
        print(f"{name:20} smooth {row['smooth_k']:.5f}  plain {row['plain']:.5f}")
    if out is not None:
        document = {
            "what": "relative L1 error against float64",
            "tokens": TOKENS,
            "head_dim": HEAD_DIM,
            "dtype": "bfloat16",
            "torch": torch.__version__,
            "errors": rows,
        }
        out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
