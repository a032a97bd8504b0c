"""The FP4 kernels on a GPU: quantizers bit for bit, attention against its PyTorch reference and against float64.

Needs an installed ``sageattn3`` with kernels for this GPU: a wheel on compute capability 12.x, or a development build
whose kernels compute the FP4 mma in ordinary instructions (see the README of sageattention3_blackwell).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("no GPU", allow_module_level=True)
sageattn3 = pytest.importorskip("sageattn3")

from sageattn3 import _native, _ops, layout, reference  # noqa: E402

if _native.unsupported(_native.load(), "", torch.cuda.get_device_capability()):
    pytest.skip("no kernels for this GPU", allow_module_level=True)

pytestmark = pytest.mark.gpu
LAYOUTS = {"HND": 0, "NHD": 1}


def tensor(shape: Any, dtype: Any = torch.float16, seed: Any = 0, scale: Any = 1.0) -> Any:
    generator = torch.Generator("cuda").manual_seed(seed)
    return (torch.randn(shape, generator=generator, device="cuda") * scale).to(dtype)


def cosine(a: Any, b: Any) -> Any:
    a, b = a.double().flatten(), b.double().flatten()
    return float((a @ b) / (a.norm() * b.norm()))


def relative(a: Any, b: Any) -> Any:
    return float((a.double() - b.double()).norm() / b.double().norm())


def stored(x: Any, name: Any) -> Any:
    """An HND tensor as the named layout holds it."""
    return x if name == "HND" else x.transpose(1, 2).contiguous()


def k_mean_of(k: Any) -> Any:
    return reference.pad_channels(k.mean(2, dtype=torch.float32)).contiguous()


def prepared_q_mean(q: Any) -> Any:
    return _ops.quantize_q(q, None, None, 0)[1]


def reference_like_kernel(q: Any, k: Any, v: Any, **options: Any) -> Any:
    """The reference with the very means that the kernels use, so that no rounding of a mean moves a code."""
    per_block = options.pop("per_block_mean", True)
    q_mean = prepared_q_mean(q) if per_block else reference.pad_channels(q.mean(2, dtype=torch.float32)).unsqueeze(2)
    return reference.attention(q, k, v, q_mean=q_mean, k_mean=k.mean(2, dtype=torch.float32), **options)


# ---- quantizers ----

SIZES = [(1, 128), (17, 64), (128, 128), (129, 72), (300, 33), (1023, 128), (515, 64), (200, 100)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["HND", "NHD"])
@pytest.mark.parametrize(("length", "head_dim"), SIZES)
def test_quantizers_write_the_reference_bytes(length: Any, head_dim: Any, name: Any, dtype: Any) -> None:
    q, k, v = (tensor((2, heads, length, head_dim), dtype, seed) for seed, heads in ((1, 4), (2, 2), (3, 2)))
    q[:, :, :, ::7] *= 30  # channel outliers
    v[:, :, :, 1] = 0
    code = LAYOUTS[name]
    k_mean = k_mean_of(k)

    q4, q_mean, dot = _ops.quantize_q(stored(q, name), None, k_mean, code)
    torch.testing.assert_close(q_mean, reference.tile_means(reference.pad_channels(q)), rtol=1e-5, atol=1e-5)
    blocks, scale = reference.quantize_rows(reference.pad_channels(q), q_mean)
    assert torch.equal(q4, layout.pack_query(blocks, scale))
    wanted = (reference.pad_channels(q).float() @ k_mean.repeat_interleave(2, 1).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(dot, wanted, rtol=1e-4, atol=1e-4)

    k4 = _ops.quantize_k(stored(k, name), k_mean, code)
    assert torch.equal(k4, layout.pack_key(*reference.quantize_rows(reference.pad_channels(k), k_mean.unsqueeze(2))))

    v4, v_scale = _ops.quantize_v(stored(v, name), code)
    blocks, scale = reference.quantize_channels(reference.pad_channels(v))
    assert torch.equal(v_scale, scale)
    assert torch.equal(v4, layout.pack_value(blocks))


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e-3, 1e3, 1e6, 1e30])
def test_quantizers_keep_their_precision_at_any_magnitude(factor: Any) -> None:
    x = tensor((1, 2, 256, 64), torch.bfloat16, 5, factor)
    mean = k_mean_of(x)
    blocks, scale = reference.quantize_rows(x, mean.unsqueeze(2))
    assert torch.equal(_ops.quantize_k(x, mean, 0), layout.pack_key(blocks, scale))
    restored = blocks.values().unflatten(2, (-1, 128)) * scale[..., None, None]
    assert relative(restored.flatten(2, 3), x.float() - mean.unsqueeze(2)) < 0.11
    blocks, scale = reference.quantize_channels(x)
    v4, v_scale = _ops.quantize_v(x, 0)
    assert torch.equal(v4, layout.pack_value(blocks))
    assert torch.equal(v_scale, scale)


def test_quantizers_take_any_strides_and_alignment() -> None:
    packed = tensor((2, 200, 3 * 4 * 64 + 3), torch.float16, 7)
    q = packed[:, :, 3:].unflatten(-1, (3, 4, 64))[:, :, 0].transpose(1, 2)  # rows start on odd elements
    assert q.data_ptr() % 16 != 0
    mean = k_mean_of(q)
    assert torch.equal(_ops.quantize_k(q, mean, 0), _ops.quantize_k(q.contiguous(), mean, 0))
    assert torch.equal(_ops.quantize_v(q, 0)[0], _ops.quantize_v(q.contiguous(), 0)[0])
    assert torch.equal(_ops.quantize_q(q, None, None, 0)[0], _ops.quantize_q(q.contiguous(), None, None, 0)[0])


# ---- attention against the reference ----


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize(
    ("q_length", "k_length"), [(1, 1), (128, 128), (113, 203), (1023, 1024), (257, 77), (64, 700), (640, 129)]
)
def test_attention_follows_the_reference(q_length: Any, k_length: Any, head_dim: Any, is_causal: Any) -> None:
    q = tensor((2, 4, q_length, head_dim), torch.float16, 1, 1.5)
    k = tensor((2, 2, k_length, head_dim), torch.float16, 2, 1.5)
    v = tensor((2, 2, k_length, head_dim), torch.float16, 3)
    out, lse = sageattn3.sageattn3_blackwell(q, k, v, is_causal=is_causal, return_lse=True)
    wanted, wanted_lse = reference_like_kernel(q, k, v, is_causal=is_causal)
    assert out.shape == q.shape
    assert out.is_contiguous()
    assert relative(out, wanted) < 3e-3
    assert float((lse - wanted_lse).abs().max()) < 2e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("head_dim", [1, 8, 33, 40, 72, 80, 96, 127])
def test_any_head_dim_dtype_and_layout(head_dim: Any, dtype: Any) -> None:
    q, k, v = (tensor((1, 2, 300, head_dim), dtype, seed) for seed in (1, 2, 3))
    wanted, _ = reference_like_kernel(q, k, v)
    limit = 3e-3 if dtype == torch.float16 else 6e-3
    assert relative(sageattn3.sageattn3_blackwell(q, k, v), wanted) < limit
    nhd = sageattn3.sageattn3_blackwell(*(stored(x, "NHD") for x in (q, k, v)), tensor_layout="NHD")
    assert torch.equal(nhd.transpose(1, 2), sageattn3.sageattn3_blackwell(q, k, v))


@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 1), (8, 4), (3, 3)])
def test_grouped_heads(heads: Any, kv_heads: Any) -> None:
    q, k, v = (tensor((2, n, 333, 64), seed=seed) for seed, n in ((1, heads), (2, kv_heads), (3, kv_heads)))
    wanted, wanted_lse = reference_like_kernel(q, k, v, is_causal=True)
    out, lse = sageattn3.sageattn3_blackwell(q, k, v, is_causal=True, return_lse=True)
    assert relative(out, wanted) < 3e-3
    assert float((lse - wanted_lse).abs().max()) < 2e-4


@pytest.mark.parametrize("sm_scale", [0.3, 0.0, -0.1])
@pytest.mark.parametrize("per_block_mean", [True, False])
def test_scale_and_mean(sm_scale: Any, per_block_mean: Any) -> None:
    q, k, v = (tensor((1, 2, 500, 128), seed=seed) for seed in (1, 2, 3))
    q += 2 * tensor((1, 2, 1, 128), seed=9)
    k += 3 * tensor((1, 2, 1, 128), seed=8)
    out, lse = sageattn3.sageattn3_blackwell(q, k, v, sm_scale=sm_scale, per_block_mean=per_block_mean, return_lse=True)
    wanted, wanted_lse = reference_like_kernel(q, k, v, sm_scale=sm_scale, per_block_mean=per_block_mean)
    assert relative(out, wanted) < 4e-3
    assert float((lse - wanted_lse).abs().max()) < 1e-3 * max(1.0, float(wanted_lse.abs().max()))


def test_outliers_stay_as_near_as_the_reference() -> None:
    q, k, v = (tensor((1, 4, 1000, 128), torch.bfloat16, seed) for seed in (1, 2, 3))
    q[..., 5::31] += 20
    k[..., 3::29] -= 25
    out, lse = sageattn3.sageattn3_blackwell(q, k, v, return_lse=True)
    wanted, _ = reference_like_kernel(q, k, v)
    assert relative(out, wanted) < 6e-3
    exact, exact_lse = reference.exact(q, k, v)
    assert cosine(out, exact) > cosine(reference.attention(q, k, v)[0], exact) - 1e-4
    assert float((lse - exact_lse).abs().max()) < 1.0


# ---- structured inputs: exact values, so that one misplaced value or block scale shows ----


def exact_blocks(rows: Any, width: Any, seed: Any) -> Any:
    """float32 ``[rows, width]``: each block of 16 is one power of two times E2M1 values, with a 6 among them."""
    generator = torch.Generator("cuda").manual_seed(seed)
    values = torch.tensor(reference.E2M1_VALUES, device="cuda")
    codes = torch.randint(0, 8, (rows, width // 16, 16), generator=generator, device="cuda")
    codes[..., 0] = 7
    signs = torch.randint(0, 2, codes.shape, generator=generator, device="cuda") * 2 - 1
    exponents = torch.randint(-4, 5, (rows, width // 16, 1), generator=generator, device="cuda")
    return (values[codes] * signs * torch.exp2(exponents.float())).flatten(1)


@pytest.mark.parametrize("head_dim", [64, 128])
def test_every_value_block_is_under_its_own_scale(head_dim: Any) -> None:
    """Each query picks one key with weight 1: the output must be that token's V, exactly."""
    length = 384
    v = exact_blocks(head_dim, length, 1).T.contiguous()[None, None].half()
    order = torch.randperm(length, generator=torch.Generator().manual_seed(2)).cuda()
    signs = torch.randint(0, 2, (length, head_dim), generator=torch.Generator("cuda").manual_seed(3), device="cuda")
    k = (signs * 2 - 1).half()[None, None]
    q = k[:, :, order]
    out = sageattn3.sageattn3_blackwell(q, k, v, sm_scale=1.0)
    assert torch.equal(out, v[:, :, order])


@pytest.mark.parametrize("head_dim", [64, 128])
def test_every_logit_block_is_under_its_own_scale(head_dim: Any) -> None:
    """Q and K are exact in NVFP4 and have zero means: each logit must be exact, seen as the lse of a single key."""
    half = exact_blocks(64, head_dim, 4)
    q = torch.cat([half, -half])[None, None].half()
    other = exact_blocks(64, head_dim, 5)
    k = torch.cat([other, -other])[None, None].half()
    v = torch.zeros_like(k)
    _, lse = sageattn3.sageattn3_blackwell(q, k, v, sm_scale=2.0**-8, return_lse=True)
    exact = reference.exact(q, k, v, sm_scale=2.0**-8)[1]
    torch.testing.assert_close(lse.double(), exact, rtol=1e-5, atol=1e-5)
    # A huge scale makes the lse the largest logit alone: its place and value must be right for every row.
    _, lse = sageattn3.sageattn3_blackwell(q, k, v, sm_scale=1.0, return_lse=True)
    torch.testing.assert_close(lse.double(), reference.exact(q, k, v, sm_scale=1.0)[1], rtol=1e-6, atol=1e-4)


# ---- behaviour ----


def test_inputs_are_unchanged_and_results_repeat() -> None:
    q, k, v = (tensor((1, 2, 300, 128), seed=seed) for seed in (1, 2, 3))
    copies = [x.clone() for x in (q, k, v)]
    first = sageattn3.sageattn3_blackwell(q, k, v)
    assert all(torch.equal(a, b) for a, b in zip((q, k, v), copies, strict=True))
    assert torch.equal(first, sageattn3.sageattn3_blackwell(q, k, v))


def test_strided_and_expanded_inputs() -> None:
    qkv = tensor((2, 400, 3, 4, 64), torch.bfloat16, 3)
    q, k, v = (x.transpose(1, 2) for x in qkv.unbind(2))
    plain = sageattn3.sageattn3_blackwell(q.contiguous(), k.contiguous(), v.contiguous())
    assert torch.equal(sageattn3.sageattn3_blackwell(q, k, v), plain)
    one = k[:1].expand(2, -1, -1, -1)
    assert torch.equal(sageattn3.sageattn3_blackwell(q, one, v), sageattn3.sageattn3_blackwell(q, one.contiguous(), v))


def test_side_stream_and_graph_capture() -> None:
    q, k, v = (tensor((1, 2, 300, 128), seed=seed) for seed in (1, 2, 3))
    wanted = sageattn3.sageattn3_blackwell(q, k, v)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        out = sageattn3.sageattn3_blackwell(q, k, v)
    stream.synchronize()
    assert torch.equal(out, wanted)
    graph = torch.cuda.CUDAGraph()
    static = [x.clone() for x in (q, k, v)]
    with torch.cuda.graph(graph):
        captured = sageattn3.sageattn3_blackwell(*static)
    captured.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, wanted)


def test_many_heads_share_a_bounded_workspace() -> None:
    """More (batch, head) pairs than one delta workspace of 64 MiB holds: runs of pairs are served in turn."""
    q, k, v = (tensor((1, 40, 8320, 64), torch.bfloat16, seed) for seed in (1, 2, 3))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = sageattn3.sageattn3_blackwell(q, k, v)
    inputs = q.numel() * 2
    assert torch.cuda.max_memory_allocated() - before < 64 * 2**20 + 4 * inputs
    for head in (0, 39):
        one = sageattn3.sageattn3_blackwell(*(x[:, head : head + 1] for x in (q, k, v)))
        assert torch.equal(out[:, head : head + 1], one)


def test_edges() -> None:
    q, k, v = (tensor((1, 2, 40, 64), seed=seed) for seed in (1, 2, 3))
    assert sageattn3.sageattn3_blackwell(q[:, :, :0], k, v).shape == (1, 2, 0, 64)
    out, lse = sageattn3.sageattn3_blackwell(q, k[:, :, :0], v[:, :, :0], return_lse=True)
    assert not out.any()
    assert bool((lse == -math.inf).all())
    assert not sageattn3.sageattn3_blackwell(q, k, torch.zeros_like(v)).any()
    v[0, 0, 3, 5] = math.inf
    out = sageattn3.sageattn3_blackwell(q, k, v)
    finite = torch.isfinite(out)
    assert not finite[0, 0, :, 5].any()
    assert finite[0, 1].all()
    assert finite[0, 0, :, :5].all()


def test_refusals() -> None:
    q, k, v = (tensor((1, 2, 40, 64), seed=seed) for seed in (1, 2, 3))
    mask = torch.ones(40, 40, dtype=torch.bool, device="cuda")
    for error, arguments in [
        (NotImplementedError, {"attn_mask": mask}),
        (TypeError, {"scales": 2.0}),
        (TypeError, {"scale": 1.0, "sm_scale": 1.0}),
        (ValueError, {"dropout_p": 0.1}),
        (ValueError, {"tensor_layout": "HDN"}),
        (ValueError, {"sm_scale": math.nan}),
        (ValueError, {"fallback": "triton"}),
    ]:
        with pytest.raises(error):
            sageattn3.sageattn3_blackwell(q, k, v, **arguments)
    with pytest.raises(TypeError, match="float16"):
        sageattn3.sageattn3_blackwell(q.float(), k.float(), v.float())
    with pytest.raises(ValueError, match="multiple"):
        sageattn3.sageattn3_blackwell(tensor((1, 3, 40, 64)), k, v)
    wide = tensor((1, 2, 40, 129))
    with pytest.raises(ValueError, match="head dim is 129"):
        sageattn3.sageattn3_blackwell(wide, wide, wide)
    with pytest.raises(RuntimeError, match="backward"):
        sageattn3.sageattn3_blackwell(q.clone().requires_grad_(), k, v)
    assert torch.equal(
        sageattn3.sageattn3_blackwell(q, k, v, scale=0.2), sageattn3.sageattn3_blackwell(q, k, v, sm_scale=0.2)
    )


def test_torch_compile_and_opcheck() -> None:
    q, k, v = (tensor((1, 2, 200, 64), seed=seed) for seed in (1, 2, 3))
    torch.library.opcheck(
        torch.ops.sageattn3.attention.default,
        (q, k, v, 0, False, 0.125, True, True),
        test_utils=("test_schema", "test_faketensor"),
    )
    compiled = torch.compile(sageattn3.sageattn3_blackwell, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(q, k, v, is_causal=True), sageattn3.sageattn3_blackwell(q, k, v, is_causal=True))


def test_random_shapes() -> None:
    generator = torch.Generator().manual_seed(0)

    def pick(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    for trial, causal in itertools.product(range(12), (False, True)):
        kv_heads, group, head_dim = pick(1, 3), pick(1, 4), pick(1, 129)
        q = tensor((pick(1, 3), kv_heads * group, pick(1, 700), head_dim), seed=trial)
        length = pick(1, 700)
        k, v = (tensor((q.shape[0], kv_heads, length, head_dim), seed=trial + s) for s in (100, 200))
        wanted, wanted_lse = reference_like_kernel(q, k, v, is_causal=causal)
        out, lse = sageattn3.sageattn3_blackwell(q, k, v, is_causal=causal, return_lse=True)
        assert relative(out, wanted) < 4e-3, (q.shape, k.shape, causal)
        assert float((lse - wanted_lse).abs().max()) < 2e-4
