"""A Flux transformer of diffusers with its attention answered by sageattention.

`set_attention_backend` is all a pipeline needs too: `pipe.transformer.set_attention_backend("sage")`.
"""

from __future__ import annotations

import argparse
import time

import torch
from diffusers import FluxTransformer2DModel

TEXT_TOKENS = 512
POOLED = 768
JOINT = 4096


def transformer(layers: int) -> FluxTransformer2DModel:
    """Flux's transformer with its real widths and heads, fewer layers, and random weights."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = FluxTransformer2DModel(num_layers=layers, num_single_layers=layers, guidance_embeds=False)
    return model.to(torch.bfloat16).requires_grad_(requires_grad=False)


def inputs(side: int) -> dict[str, torch.Tensor]:
    """One denoising step of a picture of side × side latent patches."""
    options = {"device": "cuda", "dtype": torch.bfloat16}
    grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1).reshape(-1, 2)
    positions = torch.cat([torch.zeros(side * side, 1, dtype=grid.dtype), grid], -1)
    return {
        "hidden_states": torch.randn(1, side * side, 64, **options),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, JOINT, **options),
        "pooled_projections": torch.randn(1, POOLED, **options),
        "timestep": torch.full((1,), 0.5, **options),
        "img_ids": positions.to(**options),
        "txt_ids": torch.zeros(TEXT_TOKENS, 3, **options),
    }


def run(model: FluxTransformer2DModel, step: dict[str, torch.Tensor], backend: str) -> tuple[torch.Tensor, float]:
    """The output with one attention backend, and the seconds of one step once warm."""
    model.set_attention_backend(backend)
    with torch.no_grad():
        model(**step)
        torch.cuda.synchronize()
        start = time.perf_counter()
        output = model(**step).sample
        torch.cuda.synchronize()
    return output, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=4, help="double and single layers each (Flux has 19 and 38)")
    parser.add_argument("--side", type=int, default=64, help="latent patches a side (64: a picture of 1024 x 1024)")
    args = parser.parse_args()
    model, step = transformer(args.layers), inputs(args.side)
    expected, native_seconds = run(model, step, "native")
    got, sage_seconds = run(model, step, "sage")
    error = (got - expected).float().abs().sum() / expected.float().abs().sum()
    print(
        f"native {native_seconds * 1e3:.1f} ms, sage {sage_seconds * 1e3:.1f} ms a step; relative L1 {error.item():.2e}"
    )


if __name__ == "__main__":
    main()
