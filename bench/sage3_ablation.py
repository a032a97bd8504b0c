"""Accuracy of FP4 attention against float64: the kernels where a GPU has them, and each step left out in the reference.

    python bench/sage3_ablation.py --output bench/results/sage3-ablation.json

Needs PyTorch and an installed ``sageattn3``; with ``--reference-only`` the package's folder on PYTHONPATH will do.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch

from sageattn3 import reference
from sageattn3.reference import Options

VARIANTS = {
    "kernel": Options(),
    "P scaled by its tile's maximum": Options(p_tile_max=True),
    "one-level P": Options(p_levels=1),
    "smooth K only": Options(smooth_q=False),
    "smooth Q only": Options(smooth_k=False),
    "no smoothing": Options(smooth_k=False, smooth_q=False),
    "one mean of Q for all tokens": Options(per_block_mean=False),
    "MXFP4": Options(block=32, power_of_two=True),
    "P and V exact": Options(quantize_p=False, quantize_v=False),
    "P exact": Options(quantize_p=False),
}


def normal(generator: torch.Generator, heads: int, head_dim: int, grid: tuple[int, int, int]) -> tuple[Any, ...]:
    """Independent N(0, 1): nothing to smooth, and outputs that are averages of noise, the hardest case for FP4."""
    shape = (1, heads, math.prod(grid), head_dim)
    return tuple(torch.randn(shape, generator=generator, device=generator.device) for _ in range(3))


def outliers(generator: torch.Generator, heads: int, head_dim: int, grid: tuple[int, int, int]) -> tuple[Any, ...]:
    """N(0, 1) with a bias of about 20 in 8 % of the channels of Q and of K."""
    q, k, v = normal(generator, heads, head_dim, grid)
    return q + _bias(generator, q, 20), k + _bias(generator, k, 20), v


def video(generator: torch.Generator, heads: int, head_dim: int, grid: tuple[int, int, int]) -> tuple[Any, ...]:
    """Tokens that vary smoothly over a grid, channel biases in Q and K, a mean in V, as video models have them."""
    device = generator.device
    axes = [torch.linspace(0, 1, n, device=device) for n in grid]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device)

    waves = place @ (3 * rand(heads, 3, 96)) + 6.28 * torch.rand((heads, 1, 96), generator=generator, device=device)
    features = torch.cos(waves) * math.sqrt(2)
    q, k, v = (
        (features @ rand(heads, 96, head_dim) / math.sqrt(96) + 0.3 * rand(heads, place.shape[0], head_dim))[None]
        for _ in range(3)
    )
    q, k, v = q * math.sqrt(2), k * math.sqrt(2), v + 0.5 * rand(1, heads, 1, head_dim)
    return q + _bias(generator, q, 8), k + _bias(generator, k, 16), v


def sink(generator: torch.Generator, heads: int, head_dim: int, grid: tuple[int, int, int]) -> tuple[Any, ...]:
    """N(0, 1) around a small mean in V, and a first token with next to no value that draws most of the attention.

    The other tokens' probabilities are small against the row's maximum, and it is their sum that counts.
    """
    logit = math.log(math.prod(grid)) + 1.0
    q, k, v = normal(generator, heads, head_dim, grid)
    q[..., 0], k[..., 0] = 2.0, 0.0
    k[:, :, 0] = 0.0
    k[:, :, 0, 0] = logit * math.sqrt(head_dim) / 2.0
    v = v + 0.2 * torch.randn((1, heads, 1, head_dim), generator=generator, device=generator.device)
    v[:, :, 0] *= 0.02
    return q, k, v


def _bias(generator: torch.Generator, x: torch.Tensor, size: float) -> torch.Tensor:
    shape = (1, x.shape[1], 1, x.shape[3])
    chosen = torch.rand(shape, generator=generator, device=generator.device) < 0.08
    return size * torch.randn(shape, generator=generator, device=generator.device) * chosen


def metrics(out: torch.Tensor, exact: torch.Tensor) -> dict[str, float]:
    """Cosine, relative L1 and RMSE, as the SageAttention papers define them."""
    a, b = exact.double().flatten(), out.double().flatten()
    return {
        "cosine": round(float((a @ b) / (a.norm() * b.norm())), 5),
        "relative_l1": round(float((a - b).abs().sum() / a.abs().sum()), 4),
        "rmse": float(f"{float(((a - b) ** 2).mean().sqrt()):.3g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--reference-only", action="store_true")
    parser.add_argument("--grid", type=int, nargs=3, default=[16, 16, 16])
    parser.add_argument("--heads", type=int, default=4)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = []
    for head_dim in (64, 128):
        for data in (normal, outliers, video, sink):
            generator = torch.Generator(device).manual_seed(head_dim)
            q, k, v = (x.bfloat16() for x in data(generator, args.heads, head_dim, tuple(args.grid)))
            exact, exact_lse = reference.exact(q, k, v)
            scores = {name: metrics(reference.attention(q, k, v, options=o)[0], exact) for name, o in VARIANTS.items()}
            if not args.reference_only:
                import sageattn3  # noqa: PLC0415 - needs the native library

                out, lse = sageattn3.sageattn3_blackwell(q, k, v, return_lse=True)
                scores["measured on the GPU"] = metrics(out, exact)
                scores["measured on the GPU"]["lse_max_error"] = round(float((lse - exact_lse).abs().max()), 4)
            rows.append({"data": data.__name__, "head_dim": head_dim, "tokens": q.shape[2], "scores": scores})
            print(data.__name__, head_dim, {name: score["cosine"] for name, score in scores.items()})
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    result = {
        "what": "output of attention against float64; bf16 inputs; see bench/sage3_ablation.py for the data",
        "device": where,
        "fp4_mma": None if args.reference_only else _mma(),
        "torch": torch.__version__,
        "heads": args.heads,
        "rows": rows,
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")


def _mma() -> str:
    return "sm_12x instruction" if torch.cuda.get_device_capability()[0] == 12 else "emulated by ordinary instructions"


if __name__ == "__main__":
    main()
