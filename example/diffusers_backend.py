"""A Flux pipeline of diffusers with its attention answered by sageattention.

`set_attention_backend` is all that a pipeline needs: `pipe.transformer.set_attention_backend("sage")`. For a program
that you cannot change, set the environment variable `DIFFUSERS_ATTN_BACKEND=sage` instead.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

TEXT_TOKENS = 512
ALLOWED = 0.05
"""Relative L1 difference of what the pipeline computes, with 8 bits in every attention in place of 16."""


def pipeline(layers: int, device: str = "cuda", **model: Any) -> FluxPipeline:
    """Flux with its real widths and heads, fewer layers, random weights, and no text encoders or VAE around it."""
    torch.manual_seed(0)
    with torch.device(device):
        transformer = FluxTransformer2DModel(num_layers=layers, num_single_layers=layers, guidance_embeds=True, **model)
    transformer = transformer.to(torch.bfloat16).requires_grad_(requires_grad=False)
    # The usual first weights make attention matter little. With these, which keep the size of what goes through a layer
    # and have sharper logits, leaving attention out changes the result by more than half.
    for name, weight in transformer.named_parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
        elif ".norm_q" in name or ".norm_k" in name or ".norm_added" in name:
            torch.nn.init.constant_(weight, 2.0)
    return FluxPipeline(FlowMatchEulerDiscreteScheduler(), None, None, None, None, None, transformer)


def denoise(pipe: FluxPipeline, backend: str, side: int, steps: int) -> tuple[torch.Tensor, float]:
    """What the steps change in the latents of a picture of side × side pixels, and the seconds that they took."""
    pipe.transformer.set_attention_backend(backend)
    pipe.set_progress_bar_config(disable=True)
    config, device = pipe.transformer.config, pipe.transformer.device
    generator = torch.Generator(device).manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16)

    noise = random(1, (side // 16) ** 2, config.in_channels)
    text, pooled = random(1, TEXT_TOKENS, config.joint_attention_dim), random(1, config.pooled_projection_dim)
    start = time.perf_counter()
    result = pipe(
        prompt_embeds=text,
        pooled_prompt_embeds=pooled,
        height=side,
        width=side,
        num_inference_steps=steps,
        latents=noise,
        output_type="latent",
    )
    change = (result.images - noise).cpu()  # waits for the GPU
    return change, time.perf_counter() - start


def measure(layers: int = 4, side: int = 1024, steps: int = 4, device: str = "cuda", **model: Any) -> dict[str, Any]:
    """The same denoising with torch's attention and with sageattention."""
    pipe = pipeline(layers, device, **model)
    for backend in ("native", "sage"):
        denoise(pipe, backend, side, 1)  # the first run allocates and loads
    expected, native_seconds = denoise(pipe, "native", side, steps)
    got, sage_seconds = denoise(pipe, "sage", side, steps)
    error = float((got - expected).float().abs().sum() / expected.float().abs().sum())
    return {
        "what": f"Flux, {layers}+{layers} layers, {side} x {side} pixels, {steps} steps, random weights, bfloat16",
        "native_ms": native_seconds * 1e3,
        "sage_ms": sage_seconds * 1e3,
        "error": error,
        "allowed": ALLOWED,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=4, help="double and single layers each (Flux has 19 and 38)")
    parser.add_argument("--side", type=int, default=1024, help="pixels a side")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps")
    args = parser.parse_args()
    seen = measure(args.layers, args.side, args.steps)
    print(seen["what"])
    print(f"native {seen['native_ms']:.0f} ms, sage {seen['sage_ms']:.0f} ms")
    print(f"relative L1 difference {seen['error']:.4f} (allowed {ALLOWED})")
    return 0 if seen["error"] <= ALLOWED else 1


if __name__ == "__main__":
    sys.exit(main())
