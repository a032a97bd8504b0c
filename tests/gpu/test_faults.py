"""What users of published SageAttention meet, each as a test that it does not happen here."""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import exact  # noqa: E402 - needs torch

pytestmark = pytest.mark.gpu

DENSE = ("sageattn", "sageattn_qk_int8_pv_fp16_cuda", "sageattn_qk_int8_pv_fp16_triton")


@pytest.fixture(params=DENSE)
def entry(request: pytest.FixtureRequest, sage: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(sage, request.param)
    return function


def test_a_side_stream(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs()
    expected = entry(q, k, v)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    late = [torch.zeros_like(x) for x in (q, k, v)]
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(20_000_000)
        for target, x in zip(late, (q, k, v), strict=True):
            target.copy_(x)
        out = entry(*late)
    side.synchronize()
    assert torch.equal(out, expected)


def test_a_cuda_graph(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(seed=1)
    static = [torch.zeros_like(x) for x in (q, k, v)]
    mask = torch.rand(512, 512, device="cuda") > 0.5
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        entry(*static, attn_mask=mask, return_lse=True)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out, lse = entry(*static, attn_mask=mask, return_lse=True)
    for target, x in zip(static, (q, k, v), strict=True):
        target.copy_(x)
    graph.replay()
    expected, expected_lse = entry(q, k, v, attn_mask=mask, return_lse=True)
    assert torch.equal(out, expected)
    assert torch.equal(lse, expected_lse)


def test_all_zero_channels(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs()
    v[:, :, :, 5] = 0
    v[:, 1] = 0
    out = entry(q, k, v)
    assert not out[:, :, :, 5].any()
    assert not out[:, 1].any()
    assert exact.error(out, exact.attention(q, k, v)[0]) < 0.05
    for x in (q, k, v):
        x.zero_()
    assert not entry(q, k, v).any()


def test_values_of_any_size(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(dtype=torch.bfloat16, tokens=(200, 300))
    for size in (1e6, 1e-12):
        scaled = (v.float() * size).to(v.dtype)
        assert exact.error(entry(q, k, scaled), exact.attention(q, k, scaled)[0]) < 0.05
    quiet = (q.float() * 1e-20).to(q.dtype)  # every key alike
    assert exact.error(entry(quiet, k, v), exact.attention(quiet, k, v)[0]) < 0.05


def masks(batch: int, heads: int, queries: int, keys: int, dtype: Any) -> list[Any]:
    generator = torch.Generator("cuda").manual_seed(7)

    def uniform(*shape: int) -> Any:
        return torch.rand(shape, device="cuda", generator=generator)

    hidden = uniform(batch, 1, queries, keys) > 0.4
    hidden[:, :, 3] = False
    strided = (uniform(keys, queries) > 0.3).t()
    bias = uniform(heads, queries, keys) * 4 - 2
    bias[..., 10:20] = -math.inf
    return [
        hidden,
        strided,
        uniform(1, 1, 1, keys) > 0.5,
        bias,
        bias[:1].to(dtype),
        uniform(batch, 1, 1, keys).to(dtype),
    ]


# Triton compiles for every dtype of tensors and mask; one head dim of it shows what there is to show.
MASKED = [(name, d, causal) for name in DENSE[:2] for d in (64, 128, 40, 256) for causal in (False, True)]


@pytest.mark.parametrize(("name", "head_dim", "causal"), [*MASKED, (DENSE[2], 40, True)])
def test_masks_are_honoured(sage: Any, name: str, head_dim: int, causal: bool) -> None:
    """A row that sees few keys has their rounded logits in its lse: the format alone is up to .05 off float64 on such
    data. So the lse is held to the reference, which rounds as the kernels do, and through it to float64.
    """
    from sageattention import reference

    entry = getattr(sage, name)
    for dtype in exact.HALVES[: 1 if name == DENSE[2] else 2]:
        q, k, v = exact.inputs(batch=2, heads=(4, 2), tokens=(203, 113), head_dim=head_dim, dtype=dtype)
        choice = sage.explain(q, k, v, attn_mask=torch.ones(203, 113, dtype=torch.bool, device="cuda"))
        path = {DENSE[0]: choice.path, DENSE[1]: "f16", DENSE[2]: "triton"}[name]
        options = {"path": path, "is_causal": causal}
        if name == DENSE[0]:
            options.update(qk_quant_gran=choice.qk_quant_gran, pv_accum_dtype=choice.pv_accum_dtype)
        for index, mask in enumerate(masks(2, 4, 203, 113, dtype)):
            out, lse = entry(q, k, v, attn_mask=mask, is_causal=causal, return_lse=True)
            expected, expected_lse = exact.attention(q, k, v, mask, causal=causal)
            assert exact.error(out, expected) < 0.06, (index, dtype)
            assert torch.equal(torch.isneginf(lse), torch.isneginf(expected_lse)), (index, dtype)
            empty = torch.isneginf(expected_lse)
            assert not out[empty].any(), (index, dtype)
            seen = ~empty
            _, rounded = reference.attention(q, k, v, mask, **options)
            assert float((lse - rounded)[seen].abs().max()) < 1e-3, (index, dtype)
            assert float((rounded.double() - expected_lse)[seen].abs().max()) < 0.06, (index, dtype)


def test_a_mask_in_the_other_layout(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(77, 99))
    mask = torch.rand(2, 1, 77, 99, device="cuda") > 0.3
    first = entry(q, k, v, attn_mask=mask)
    laid = [x.transpose(1, 2) for x in (q, k, v)]
    assert torch.equal(entry(*laid, tensor_layout="NHD", attn_mask=mask).transpose(1, 2), first)


def test_gradients_are_not_dropped_silently(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs()
    with pytest.raises(RuntimeError, match="no backward pass"):
        entry(q.requires_grad_(), k, v)
    with torch.inference_mode():
        assert entry(q, k, v).shape == q.shape


def test_a_negative_scale(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(tokens=(300, 300), head_dim=128)
    for causal in (False, True):
        expected, _ = exact.attention(q, k, v, causal=causal, scale=-0.1)
        assert exact.error(entry(q, k, v, sm_scale=-0.1, is_causal=causal), expected) < 0.05


@pytest.mark.parametrize(
    ("batch", "queries", "keys"), [(0, 5, 5), (2, 0, 5), (2, 5, 0), (0, 0, 0)], ids=["batch", "q", "kv", "all"]
)
def test_empty_inputs(entry: Callable[..., Any], batch: int, queries: int, keys: int) -> None:
    for layout in ("HND", "NHD"):
        q, k = (
            torch.randn((batch, 2, s, 64) if layout == "HND" else (batch, s, 2, 64), device="cuda").half()
            for s in (queries, keys)
        )
        out, lse = entry(q, k, k, tensor_layout=layout, return_lse=True)
        assert out.shape == q.shape
        assert lse.shape == (batch, 2, queries)
        assert not out.any()
        assert torch.isneginf(lse).all()


def test_any_strides(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(200, 200), head_dim=64)
    expected = entry(q, k, v)
    fused = torch.stack([x.transpose(1, 2) for x in (q, k, v)], 2)  # [B, S, 3, H, D]
    assert torch.equal(entry(*(fused[:, :, i].transpose(1, 2) for i in range(3))), expected)
    room = torch.zeros(3, 2, 4, 200, 67, device="cuda", dtype=q.dtype)
    for shift in (1, 3):  # rows of odd length from an unaligned base
        views = room[..., shift : shift + 64].unbind()
        for view, x in zip(views, (q, k, v), strict=True):
            view.copy_(x)
        assert torch.equal(entry(*views), expected)
    columns = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in (q, k, v)]
    assert torch.equal(entry(*columns), expected)
    one = k[:1, :1]
    assert torch.equal(
        entry(q, one.expand_as(k), one.expand_as(v)), entry(q, one.repeat(2, 4, 1, 1), one.repeat(2, 4, 1, 1))
    )
    assert torch.equal(entry(q[:, ::2], k[:, ::2], v[:, ::2, :]), expected[:, ::2])


@pytest.mark.alone
def test_more_than_65535_heads_and_2_to_the_31_elements(sage: Any) -> None:
    """The last head of 140,800 and 2.3e9 elements is what the same head alone gives."""
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (2200, 64, 128, 128)
    assert math.prod(shape) > 2**31
    q, k, v = (torch.empty(shape, dtype=torch.float16, device="cuda").normal_(generator=generator) for _ in "qkv")
    for function in (sage.sageattn, sage.sageattn_qk_int8_pv_fp16_cuda, sage.sageattn_qk_int8_pv_fp16_triton):
        out = function(q, k, v)
        for batch in (0, 1100, 2199):
            one = [x[batch : batch + 1] for x in (q, k, v)]
            assert torch.equal(out[batch : batch + 1], function(*one)), (function.__name__, batch)
        del out
    del q, k, v
    gc.collect()
    torch.cuda.empty_cache()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("batch", "heads", "tokens", "dim"),
    [
        (1, (4, 2), (100, 90), 64),
        (2, (24, 8), (700, 2000), 128),
        (4, (32, 32), (300, 2500), 72),
        (4, (32, 32), (200, 4100), 64),
    ],
    ids=["few", "some", "many of 72", "many of 64"],
)
def test_heads_prepared_beside_attention(
    sage: Any, batch: int, heads: tuple[int, int], tokens: tuple[int, int], dim: int, *, causal: bool
) -> None:
    """On an H200 the attention kernel begins while heads are being prepared: same bits, whatever memory held before.

    K at an odd address is prepared by kernels that end before it begins.
    """
    q = torch.randn(batch, heads[0], tokens[0], dim, dtype=torch.bfloat16, device="cuda")
    k, v = (torch.randn(batch, heads[1], tokens[1], dim, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    odd = torch.empty(k.numel() + 1, dtype=k.dtype, device="cuda")[1:].view(k.shape).copy_(k)
    expected = sage.sageattn(q, odd, v, is_causal=causal, return_lse=True)
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    results = []
    for turn in range(6):
        with torch.cuda.stream(streams[turn % 2]):
            stale = torch.full((1 << 22,), 1, dtype=torch.uint8, device="cuda")  # flags of a call before, say
            del stale
            results.append(sage.sageattn(q, k, v, is_causal=causal, return_lse=True))
    torch.cuda.synchronize()
    for out, lse in results:
        assert torch.equal(out, expected[0])
        assert torch.equal(lse, expected[1])


@pytest.mark.alone
def test_strides_over_2_to_the_31(sage: Any) -> None:
    """One sequence whose last tokens lie more than 2^31 elements from its first."""
    tokens, heads = 136_000, 128
    k = torch.empty(1, tokens, heads, 128, dtype=torch.bfloat16, device="cuda").normal_()
    assert k.numel() > 2**31
    q = torch.randn(1, 64, heads, 128, dtype=torch.bfloat16, device="cuda")
    # Without the mean of K, which PyTorch takes for the Triton path, and of a view of this size in another order.
    triton = functools.partial(sage.sageattn_qk_int8_pv_fp16_triton, smooth_k=False)
    for function in (sage.sageattn, triton):
        out = function(q, k, k, "NHD")
        alone = [x[:, :, -1:].contiguous() for x in (q, k)]
        assert torch.equal(out[:, :, -1:], function(alone[0], alone[1], alone[1], "NHD")), function
    del q, k, out
    gc.collect()
    torch.cuda.empty_cache()


def test_nan_and_inf_stay_in_their_head(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(batch=2)
    expected = entry(q, k, v)
    for x in (q, k, v):
        for value in (math.nan, math.inf):
            bad = x.clone()
            bad[1, 2, 17, 3] = value
            out = entry(*(bad if y is x else y for y in (q, k, v)))
            assert torch.equal(out[0], expected[0])
            assert torch.equal(out[1, [0, 1, 3]], expected[1, [0, 1, 3]])


def test_wrong_shapes_are_refused_and_the_context_lives(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs()
    for wrong in (
        (q, k, v[:, :, :-1]),
        (q, k, v[:, :2]),
        (q, k, v[..., :32]),
        (q, k, v.repeat(2, 1, 1, 1)),
        (q, k[:0], v[:0]),
        (q, k[..., :32], v[..., :32]),
        (q[:, :3], k[:, :2], v[:, :2]),
        (q[0], k[0], v[0]),
        (q.float(), k.float(), v.float()),
        (q, k.cpu(), v),
        (q.cpu(), k.cpu(), v.cpu()),
    ):
        with pytest.raises((TypeError, ValueError)):
            entry(*wrong)
    torch.cuda.synchronize()
    assert exact.error(entry(q, k, v), exact.attention(q, k, v)[0]) < 0.05


def test_the_operators_check_for_themselves(sage: Any) -> None:
    """Callers of torch.ops meet exceptions, never an abort or a dead context."""
    assert sage
    q, k, v = exact.inputs()
    call = torch.ops.sageattention.attention
    options = (0, False, 0.1, "f16", "per_thread", "fp32", True, False, False)
    for wrong in ((q, k, v[:, :, :-1]), (q, k[..., :32], v[..., :32]), (q.cpu(), k, v), (q[0], k, v)):
        with pytest.raises((RuntimeError, TypeError, ValueError, NotImplementedError)):
            call(*wrong, None, *options)
    for changed in ({3: "f9"}, {4: "per_lane"}, {5: "fp64"}, {0: 2}):
        with pytest.raises((RuntimeError, ValueError)):
            call(q, k, v, None, *[changed.get(i, value) for i, value in enumerate(options)])
    torch.cuda.synchronize()


def test_results_repeat_bit_for_bit(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs(tokens=(1000, 1000), head_dim=128)
    first = entry(q, k, v)
    assert all(torch.equal(entry(q, k, v), first) for _ in range(5))


def test_inputs_are_not_changed(entry: Callable[..., Any]) -> None:
    q, k, v = exact.inputs("k_offset")
    before = [x.clone() for x in (q, k, v)]
    entry(q, k, v)
    assert all(torch.equal(x, y) for x, y in zip((q, k, v), before, strict=True))
