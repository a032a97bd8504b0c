"""The plain-PyTorch reference against float64, on five kinds of data, and its quantizers against their definitions."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

from sageattention import _dispatch, reference  # noqa: E402 - both need torch

# Largest relative L1 errors: the INT8 Q and K of one path, the FP8 P and V of the others.
BOUNDS = {"f16": 0.02, "f8": 0.045, "f8_sm90": 0.045, "f8_sm90_qk16": 0.045, "triton": 0.025}


def data(kind: str, heads: int, tokens: int, head_dim: int, seed: int, dtype: Any = torch.float16) -> Any:
    """``[1, heads, tokens, head_dim]``: normal; offset (each channel by ±10); peaked (logits of deviation 4)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, heads, tokens, head_dim, generator=generator)
    if kind == "offset":
        x = x + 10 * torch.randint(-1, 2, (head_dim,), generator=generator)
    if kind == "peaked":
        x = x * 2
    return x.to(dtype)


def exact(
    q: Any, k: Any, v: Any, mask: Any = None, causal: bool = False, scale: float | None = None
) -> tuple[Any, Any]:
    """Attention and lse in float64."""
    repeat = q.shape[1] // k.shape[1]
    q, k, v = q.double(), k.double().repeat_interleave(repeat, 1), v.double().repeat_interleave(repeat, 1)
    logits = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask.double()
    if causal:
        logits = logits.masked_fill(~torch.ones(logits.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    return torch.nan_to_num(logits.softmax(-1)) @ v, logits.logsumexp(-1)


def error(out: Any, expected: Any) -> float:
    return float((out.double() - expected).abs().sum() / expected.abs().sum())


@pytest.mark.parametrize("path", ["f16", "f8", "f8_sm90", "f8_sm90_qk16", "triton"])
@pytest.mark.parametrize(
    "kinds",
    [
        "normal normal normal",
        "normal offset normal",
        "offset offset normal",
        "peaked peaked normal",
        "normal normal offset",
    ],
)
@pytest.mark.parametrize("causal", [False, True])
def test_each_path_is_as_near_as_its_bits(path: str, kinds: str, causal: bool) -> None:
    q, k, v = (data(kind, 2, 300, 64, seed) for seed, kind in enumerate(kinds.split()))
    accum = "fp32" if path == "triton" else _dispatch.PATHS[path].accumulators[0]
    out, lse = reference.attention(q, k, v, is_causal=causal, path=path, pv_accum_dtype=accum)
    expected, expected_lse = exact(q, k, v, causal=causal)
    assert error(out, expected) < BOUNDS[path] * (2 if kinds == "offset offset normal" else 1)
    assert float((lse.double() - expected_lse).abs().mean()) < (
        0.1 if "peaked" in kinds or kinds.startswith("offset") else 0.01
    )


def test_smoothing_k_gains_where_k_has_an_offset_and_costs_nothing_where_not() -> None:
    v = data("normal", 1, 512, 64, 2)
    for kind, gains in (("offset", True), ("normal", False)):
        q, k = data("normal", 1, 512, 64, 0), data(kind, 1, 512, 64, 1)
        with_it, without = (
            error(reference.attention(q, k, v, smooth_k=smooth)[0], exact(q, k, v)[0]) for smooth in (True, False)
        )
        assert with_it < (0.7 if gains else 1.1) * without


@pytest.mark.parametrize("path", ["f16", "f8_sm90", "triton"])
def test_masks_groups_and_ragged_lengths(path: str) -> None:
    q, k, v = data("normal", 4, 113, 40, 0), data("normal", 2, 203, 40, 1), data("normal", 2, 203, 40, 2)
    accum = "fp32+fp32" if path == "f8_sm90" else "fp32"
    keep = torch.rand(1, 1, 113, 203, generator=torch.Generator().manual_seed(3)) > 0.3
    keep[..., 5, :] = False
    bias = torch.randn(4, 1, 203, generator=torch.Generator().manual_seed(4))
    for mask in (keep, bias):
        out, lse = reference.attention(q, k, v, mask, is_causal=True, path=path, pv_accum_dtype=accum, sm_scale=-0.2)
        expected, expected_lse = exact(q, k, v, mask, True, -0.2)
        assert error(out, expected) < BOUNDS[path]
        assert torch.equal(torch.isinf(lse), torch.isinf(expected_lse))
    assert torch.equal(
        reference.attention(q, k, v, keep, path=path, pv_accum_dtype=accum)[0][:, :, 5], torch.zeros(1, 4, 40).half()
    )


def test_smoothed_v_keeps_an_offset_out_of_fp8() -> None:
    q, k, v = data("normal", 1, 256, 64, 0), data("normal", 1, 256, 64, 1), data("offset", 1, 256, 64, 2)
    expected, _ = exact(q, k, v)
    plain, smooth = (
        reference.attention(q, k, v, path="f8", pv_accum_dtype="fp32", smooth_v=flag)[0] for flag in (False, True)
    )
    assert error(smooth, expected) < 0.5 * error(plain, expected)


def test_no_keys_give_zeros_and_an_lse_of_minus_infinity() -> None:
    q, k = data("normal", 2, 5, 64, 0), data("normal", 2, 0, 64, 1)
    out, lse = reference.attention(q, k, k)
    assert not out.any()
    assert torch.isneginf(lse).all()


def test_int8_groups_are_those_of_the_lanes() -> None:
    k = data("normal", 1, 200, 64, 0)
    thread, warp = reference.quantize_k(k, 64, "per_thread"), reference.quantize_k(k, 64, "per_warp")
    assert thread.group is not None
    assert thread.group[[0, 1, 2, 8, 9, 10, 63, 64, 71]].tolist() == [0, 0, 1, 0, 0, 1, 3, 4, 7]
    assert thread.scale.shape == (1, 1, 16)
    assert warp.scale.shape == (1, 1, 4)
    q = reference.quantize_q(k, 32, "per_thread")
    assert q.group is not None
    assert q.group[[0, 7, 8, 31, 32, 40]].tolist() == [0, 7, 0, 7, 8, 8]
    for found in (thread, warp, q):
        assert int(found.values.abs().max()) == 127
        assert float((found.dequantized() - k.float()).abs().max()) <= float(found.scale.max()) * 0.51


def test_a_zero_group_or_channel_stays_zero() -> None:
    k = torch.zeros(1, 1, 64, 64, dtype=torch.float16)
    k[..., 3] = 1.0
    assert not reference.quantize_k(torch.zeros_like(k), 64, "per_warp").values.any()
    v8 = reference.quantize_v(k, 448.0)
    assert v8.scale[0, 0, 0].count_nonzero() == 1
    assert v8.dequantized().equal(k.float())


@pytest.mark.parametrize("tokens", [1, 3, 128, 129, 1000, 70000])
def test_the_sampled_mean_is_near_the_mean(tokens: int) -> None:
    x = torch.randn(1, 1, tokens, 8, generator=torch.Generator().manual_seed(0)) + 10
    found = reference.sampled_mean(x)
    assert float((found - x.mean(2)).abs().max()) < (1e-5 if tokens <= 128 else 0.4)
