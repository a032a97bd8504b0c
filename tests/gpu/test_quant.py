"""The kernels that prepare operands, bit for bit against sage/quant_k.cuh and sage/quant_v.cuh written in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]

SAMPLE = 128
TOKEN_ORDER = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]


@pytest.fixture(scope="module")
def ops() -> Any:
    import sageattention  # noqa: F401  registers the ops

    return torch.ops.sageattention


def pad(x: Any, tokens: int, columns: int) -> Any:
    out = torch.zeros(*x.shape[:2], tokens, columns, dtype=x.dtype, device=x.device)
    out[:, :, : x.shape[2], : x.shape[3]] = x
    return out


def divide(a: Any, b: Any) -> Any:
    """IEEE division; a tensor divided by a Python number is multiplied by its reciprocal on the GPU."""
    return torch.div(torch.full_like(b, a) if isinstance(a, float) else a, b)


def sampled_mean(x: Any) -> Any:
    """Mean of at most 128 tokens of [B, H, S, D] fp32, summed as the kernels do."""
    length = x.shape[2]
    n = min(length, SAMPLE)
    i = torch.arange(n, device=x.device)
    token = i if length <= SAMPLE else ((i << 16) + ((i * 40503 + 32768) & 65535)) * length >> 23
    total = pad(x[:, :, token], SAMPLE, x.shape[3])
    while total.shape[2] > 1:
        half = total.shape[2] // 2
        total = total[:, :, :half] + total[:, :, half:]
    return divide(total, torch.full_like(total, n))


def scales(amax: Any, qmax: float) -> tuple[Any, Any]:
    """(scale, its reciprocal) of groups with these maxima."""
    zero = amax < 2.0**-100
    scale = torch.where(zero, 0.0, amax * torch.tensor(1 / qmax, dtype=torch.float32, device=amax.device))
    return scale, torch.where(zero, 0.0, divide(float(qmax), amax))


def to_int8(x: Any, scale: Any) -> Any:
    """The exact products (they fit float64) rounded to nearest, ties to even."""
    return (x.double() * scale.double()).round().to(torch.int8)


def reference_k(k: Any, block: int, gran: str, smooth: bool, mean: Any = None) -> tuple[Any, Any, Any]:
    """k8 [B, H, Skp, D], scale [B, H, Skp / block, 4], mean [B, H, D] of K [B, H, S, d]."""
    b, h, s, d = k.shape
    columns = 64 if d <= 64 else 128 if d <= 128 else 256
    rows = -(-s // 128) * 128
    x = pad(k.float(), s, columns)
    if mean is None:
        mean = sampled_mean(x) if smooth else torch.zeros_like(x[:, :, :1])
    y = pad(x - mean, rows, columns)
    groups = y.abs().view(b, h, rows // block, block // 8, 4, 2, columns)
    amax = groups.amax((3, 5, 6))
    if gran == "per_warp":
        amax = amax.amax(-1, keepdim=True).expand_as(amax)
    scale, inverse = scales(amax, 127)
    each = inverse[:, :, :, None, :, None, None]
    k8 = to_int8(y.view_as(groups), each)
    return k8.view(b, h, rows, columns), scale, mean[:, :, 0]


def reference_v(v: Any, vmax: float, smooth: bool) -> tuple[Any, Any, Any]:
    """v8 [B, H, D, Skp] (token order applied), scale and mean [B, H, D] of V [B, H, S, d]."""
    b, h, s, d = v.shape
    columns = 64 if d <= 64 else 128
    rows = -(-s // 128) * 128
    x = pad(v.float(), s, columns)
    mean = sampled_mean(x) if smooth else torch.zeros_like(x[:, :, :1])
    y = pad(x - mean, rows, columns)
    scale, inverse = scales(y.abs().amax(2, keepdim=True), vmax)
    v8 = (y * inverse).to(torch.float8_e4m3fn).view(torch.int8)
    v8 = v8.view(b, h, rows // 16, 16, columns)[:, :, :, TOKEN_ORDER].reshape(b, h, rows, columns)
    return v8.transpose(2, 3).contiguous(), scale[:, :, 0], mean[:, :, 0]


def data(shape: tuple[int, ...], dtype: Any, kind: str = "normal", seed: int = 0) -> Any:
    g = torch.Generator("cuda").manual_seed(seed)
    x = torch.randn(shape, device="cuda", generator=g)
    if kind == "offset":
        x += 10 * torch.randn(shape[-1], device="cuda", generator=g)
    if kind == "zero_channels":
        x[..., ::3] = 0
    if kind == "zeros":
        x.zero_()
    return x.to(dtype)


def laid_out(x: Any, layout: int) -> Any:
    """The same values, [B, H, S, D] or stored as [B, S, H, D]."""
    return x if layout == 0 else x.transpose(1, 2).contiguous()


LENGTHS = [1, 3, 17, 64, 65, 127, 128, 129, 203, 1024, 1023, 4096, 8192, 9000]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("d", [64, 128, 256, 8, 40, 80, 96, 200, 63, 127, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_k(ops: Any, dtype: Any, d: int, length: int) -> None:
    for i, (block, gran, smooth) in enumerate(
        [(64, "per_thread", True), (64, "per_warp", True), (128, "per_thread", True), (128, "per_warp", False)]
    ):
        k = data((2, 3, length, d), dtype, "offset", i)
        layout = i % 2
        k8, scale, mean = ops.quantize_k(laid_out(k, layout), layout, block, gran, smooth)
        k8_, scale_, mean_ = reference_k(k, block, gran, smooth)
        assert torch.equal(mean, mean_)
        assert torch.equal(scale, scale_)
        assert torch.equal(k8, k8_)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("d", [64, 128, 8, 40, 80, 63, 127, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_v(ops: Any, dtype: Any, d: int, length: int) -> None:
    for i, (vmax, smooth, kind) in enumerate(
        [(448.0, False, "normal"), (2.25, False, "zero_channels"), (448.0, True, "offset"), (448.0, True, "zeros")]
    ):
        v = data((2, 3, length, d), dtype, kind, i)
        layout = i % 2
        v8, scale, mean = ops.quantize_v(laid_out(v, layout), layout, vmax, smooth)
        v8_, scale_, mean_ = reference_v(v, vmax, smooth)
        assert torch.equal(mean, mean_)
        assert torch.equal(scale, scale_)
        assert torch.equal(v8.view(torch.int8), v8_)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("d", [64, 128, 40, 96, 63])
@pytest.mark.parametrize("length", [*LENGTHS, 2500])
def test_one_launch_for_both_gives_the_same_bits(ops: Any, dtype: Any, d: int, length: int) -> None:
    for i, (block, gran, smooth_k, smooth_v) in enumerate(
        [(64, "per_thread", True, False), (128, "per_warp", True, True), (128, "per_thread", False, False)]
    ):
        k, v = (laid_out(data((2, 3, length, d), dtype, "offset", seed), i % 2) for seed in (i, i + 10))
        apart = ops.quantize_k(k, i % 2, block, gran, smooth_k) + ops.quantize_v(v, i % 2, 448.0, smooth_v)
        both = ops.quantize_kv(k, v, i % 2, block, gran, smooth_k, 448.0, smooth_v)
        for got, want in zip(both, apart, strict=True):
            same = got.view(torch.int8) if got.dtype == torch.float8_e4m3fn else got
            assert torch.equal(same, want.view(same.dtype) if got.dtype == torch.float8_e4m3fn else want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("block", [16, 32, 64, 128])
@pytest.mark.parametrize("d", [64, 80, 127])
def test_int8(ops: Any, dtype: Any, block: int, d: int) -> None:
    for length in (1, 17, 128, 1023):
        for i, (gran, centred) in enumerate([("per_warp", False), ("per_thread", True)]):
            x = data((2, 3, length, d), dtype, "offset", i)
            mean = x.float().mean(2) if centred else None
            layout = i % 2
            x8, scale = ops.quantize_int8(laid_out(x, layout), mean, layout, block, gran)
            y = x.float() - (0 if mean is None else mean[:, :, None])
            rows = -(-length // block) * block
            groups = pad(y, rows, d).view(2, 3, rows // block, block // 8, 4, 2, d)
            amax = groups.abs().amax((3, 5, 6))
            if gran == "per_warp":
                amax = amax.amax(-1, keepdim=True)
            want, inverse = scales(amax, 127)
            y8 = to_int8(groups, inverse[:, :, :, None, :, None, None]).view(2, 3, rows, d)[:, :, :length]
            assert torch.equal(scale, want[..., 0] if gran == "per_warp" else want)
            assert torch.equal(x8, laid_out(y8, layout))


def test_strides(ops: Any) -> None:
    """Packed QKV, broadcast heads, odd row strides, a base that is not 16-byte aligned: the same bits."""
    base = data((2, 3, 300, 3 * 64 + 5), torch.float16)
    views = [base[..., 64:128], base[..., 3:67], base[:, :1, :, :64].expand(2, 3, 300, 64), base[:, :, ::2, 1:65]]
    for x in views:
        for got, want in zip(
            ops.quantize_k(x, 0, 64, "per_thread", True), reference_k(x, 64, "per_thread", True), strict=True
        ):
            assert torch.equal(got, want)
        v8, scale, _ = ops.quantize_v(x, 0, 448.0, False)
        v8_, scale_, _ = reference_v(x, 448.0, False)
        assert torch.equal(v8.view(torch.int8), v8_)
        assert torch.equal(scale, scale_)


def test_mean_serves(ops: Any) -> None:
    """The sampled mean removes a per-channel offset about as well as the exact one: scales within 15 %."""
    k = data((2, 4, 8192, 128), torch.float16, "offset")
    exact = k.float().mean(2, keepdim=True)
    _, scale, mean = ops.quantize_k(k, 0, 128, "per_warp", True)
    _, best, _ = reference_k(k, 128, "per_warp", True, mean=exact)
    assert (mean - exact[:, :, 0]).abs().max() < 0.6
    assert (scale / best).max() < 1.15


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite_stays_in_its_head(ops: Any, bad: Any) -> None:
    k = data((2, 3, 500, 64), torch.bfloat16)
    k[1, 2, 321, 5] = bad
    _, scale, mean = ops.quantize_k(k, 0, 64, "per_thread", True)
    _, v_scale, _ = ops.quantize_v(k, 0, 448.0, False)
    assert not scale[1, 2].isfinite().all()
    assert not v_scale[1, 2, 5].isfinite()
    for x in (scale, mean, v_scale):
        rest = x.clone()
        rest[1, 2] = 0
        assert rest.isfinite().all()


def test_empty(ops: Any) -> None:
    for shape in [(0, 2, 16, 64), (2, 0, 16, 64), (2, 2, 0, 64)]:
        x = torch.empty(shape, device="cuda", dtype=torch.float16)
        k8, scale, mean = ops.quantize_k(x, 0, 64, "per_thread", True)
        assert k8.shape[:2] == x.shape[:2]
        assert k8.numel() == scale.numel() == 0
        assert mean.shape == (*x.shape[:2], 64)


def test_more_heads_than_a_grid_dimension(ops: Any) -> None:
    k = data((1, 70000, 16, 64), torch.float16)
    k8, scale, mean = ops.quantize_k(k, 0, 64, "per_thread", True)
    k8_, scale_, mean_ = reference_k(k, 64, "per_thread", True)
    assert torch.equal(k8, k8_)
    assert torch.equal(scale, scale_)
    assert torch.equal(mean, mean_)


@pytest.mark.alone
def test_over_2_31_elements(ops: Any) -> None:
    shape = (1, 2, 9_000_000, 128)
    k = torch.zeros(shape, device="cuda", dtype=torch.float16)
    k[0, 1, -1000:] = data((1000, 128), torch.float16)
    k8, scale, _ = ops.quantize_k(k, 0, 128, "per_thread", False)
    first = shape[2] // 128 * 128 - 1024  # of a whole block, before the last 1000 tokens
    k8_, scale_, _ = reference_k(k[:, 1:, first:], 128, "per_thread", False)
    assert torch.equal(k8[:, 1:, first:], k8_)
    assert torch.equal(scale[:, 1:, first // 128 :], scale_)
    assert not k8[:, 0].any()
    v8, v_scale, _ = ops.quantize_v(k, 0, 448.0, False)
    v8_, v_scale_, _ = reference_v(k[:, 1:, -1000:], 448.0, False)
    assert torch.equal(v_scale[:, 1:], v_scale_)
    assert not v8[:, 0].view(torch.int8).any()
    assert (v8[0, 1].view(torch.int8) != 0).sum() == (v8_ != 0).sum()
