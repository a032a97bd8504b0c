"""The same attention, bit for bit, however the inputs lie in memory and whatever launches it; and clear errors."""

from __future__ import annotations

import time
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]


@pytest.fixture(scope="module")
def ops() -> Any:
    import sageattention  # noqa: F401  registers the ops

    return torch.ops.sageattention


def paths() -> list[str]:
    names = ["f16", "f8", "f8_sm90", "f8_sm90_qk16"]
    if torch.cuda.is_available():
        capability = torch.cuda.get_device_capability()
        hopper = ["f8_sm90", "f8_sm90_qk16"] if capability == (9, 0) else []
        names = ["f16", *(["f8"] if capability >= (8, 9) else []), *hopper]
    return names


def options(path: str) -> tuple[str, str]:
    """Granularity and accumulator that the tests take."""
    if path == "f8_sm90_qk16":
        return "none", "fp32+fp16"
    return "per_thread", "fp32" if path == "f16" else "fp32+fp32"


def randn(*shape: int, dtype: Any = torch.float16, seed: int = 0) -> Any:
    g = torch.Generator("cuda").manual_seed(seed)
    return (torch.randn(shape, device="cuda", generator=g) + 0.5).to(dtype)


def dense(
    ops: Any,
    q: Any,
    k: Any,
    v: Any,
    path: str,
    *,
    layout: int = 0,
    mask: Any = None,
    causal: bool = False,
    smooth_v: bool = False,
) -> Any:
    scale = q.shape[-1] ** -0.5
    return ops.attention(q, k, v, mask, layout, causal, scale, path, *options(path), True, smooth_v, True)


def same(got: Any, want: Any) -> None:
    for a, b in zip(got, want, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences_are_single_calls(ops: Any, path: str, causal: bool) -> None:
    """Each sequence of a pack gives what it gives alone; without keys, zeros and an lse of minus infinity."""
    q_lengths, k_lengths = [100, 1, 0, 333, 64, 5], [100, 130, 7, 1000, 0, 17]
    q, k, v = (randn(sum(n), h, 64, seed=h) for n, h in ((q_lengths, 4), (k_lengths, 2), (k_lengths, 2)))
    cu = [
        torch.tensor([0, *torch.tensor(n).cumsum(0).tolist()], dtype=torch.int32, device="cuda")
        for n in (q_lengths, k_lengths)
    ]
    out, lse = ops.attention_varlen(
        q, k, v, *cu, max(q_lengths), max(k_lengths), causal, 0.125, path, *options(path), True, True
    )
    for i, (m, n) in enumerate(zip(q_lengths, k_lengths, strict=True)):
        rows, keys = slice(cu[0][i], cu[0][i] + m), slice(cu[1][i], cu[1][i] + n)
        want, want_lse = dense(ops, q[None, rows], k[None, keys], v[None, keys], path, layout=1, causal=causal)
        same((out[rows], lse[:, rows]), (want[0], want_lse[0]))


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("d", [64, 128])
def test_strides_do_not_matter(ops: Any, path: str, d: int) -> None:
    wide = randn(2, 200, 3, 6, d + 3)
    for q, k, v in (
        wide[..., :d].unbind(2),  # unaligned rows
        wide[..., 3:].unbind(2),  # unaligned bases too
        (wide[:, :, 0, :, :d], wide[:, :1, 1, :, :d].expand(2, 200, 6, d), wide[:, :, 2, :, :d]),
    ):
        want = dense(ops, q.contiguous(), k.contiguous(), v.contiguous(), path, layout=1)
        same(dense(ops, q, k, v, path, layout=1), want)
        out, lse = dense(ops, q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), path)
        same((out.transpose(1, 2), lse), want)


@pytest.mark.parametrize("path", paths())
@pytest.mark.parametrize("d", [1, 8, 13, 40, 63, 72, 127])
def test_head_dims_are_padded_with_zeros(ops: Any, path: str, d: int) -> None:
    padded = 64 if d <= 64 else 128
    q, k, v = (randn(1, 2, 150, d, seed=i) for i in range(3))
    wide = [torch.nn.functional.pad(x, (0, padded - d)) for x in (q, k, v)]
    arguments = (None, 0, False, d**-0.5, path, *options(path), True, False, True)
    out, lse = ops.attention(q, k, v, *arguments)
    want, want_lse = ops.attention(*wide, *arguments)
    same((out, lse), (want[..., :d], want_lse))
    assert out.is_contiguous()


@pytest.mark.parametrize("path", paths())
def test_streams_and_graphs(ops: Any, path: str) -> None:
    q, k, v = (randn(2, 4, 500, 64, seed=i) for i in range(3))
    want = dense(ops, q, k, v, path)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        late = q + 0  # produced on this stream, after a wait that a kernel on another stream would overtake
        torch.cuda._sleep(20_000_000)
        late.copy_(q)
        got = dense(ops, late, k, v, path)
    stream.synchronize()
    same(got, want)
    graph = torch.cuda.CUDAGraph()
    fixed = q.clone()
    with torch.cuda.graph(graph):
        got = dense(ops, fixed, k, v, path)
    for x in (q, q * 0.5, q):
        fixed.copy_(x)
        graph.replay()
        torch.cuda.synchronize()
        same(got, dense(ops, x, k, v, path))


@pytest.mark.parametrize("path", paths())
def test_repeated_calls_agree(ops: Any, path: str) -> None:
    q, k, v = (randn(2, 8, 2000, 128, seed=i) for i in range(3))
    want = dense(ops, q, k, v, path)
    for _ in range(20):
        same(dense(ops, q, k, v, path), want)


@pytest.mark.parametrize("path", paths())
def test_empty(ops: Any, path: str) -> None:
    for b, hq, hkv, sq, sk in [(0, 2, 2, 5, 5), (2, 0, 0, 5, 5), (2, 4, 2, 0, 5), (2, 4, 2, 5, 0)]:
        q, k, v = randn(b, hq, sq, 64), randn(b, hkv, sk, 64), randn(b, hkv, sk, 64)
        out, lse = dense(ops, q, k, v, path)
        assert out.shape == q.shape
        assert lse.shape == (b, hq, sq)
        assert not out.any()
        assert (lse == float("-inf")).all()


@pytest.mark.alone
@pytest.mark.parametrize("path", paths())
def test_more_heads_than_a_grid_dimension(ops: Any, path: str) -> None:
    q = randn(1, 66000, 20, 64)
    out, lse = dense(ops, q, q, q, path)
    for h in (0, 65535, 65536, 65999):
        one = q[:, h : h + 1]
        same((out[:, h : h + 1], lse[:, h : h + 1]), dense(ops, one, one, one, path))


@pytest.mark.alone
def test_over_2_31_elements(ops: Any) -> None:
    big = torch.empty(3, 6500, 900, 128, device="cuda", dtype=torch.float16)
    big.copy_(randn(3, 1, 900, 128).expand_as(big))
    assert big.numel() > 2**31
    out, _ = dense(ops, big, big, big, "f16")
    for b in range(3):
        one = big[b : b + 1, :1]
        want, _ = dense(ops, one, one, one, "f16")
        assert torch.equal(out[b, -1], want[0, 0])
        assert torch.equal(out[b, 0], want[0, 0])


@pytest.mark.alone
@pytest.mark.parametrize("path", paths())
def test_host_time(ops: Any, path: str) -> None:
    """A call costs the host less than 60 microseconds (SDPA's takes 30 to 60)."""
    q, k, v = (randn(1, 2, 64, 64, seed=i) for i in range(3))
    for _ in range(30):
        dense(ops, q, k, v, path)
    best = float("inf")
    for _ in range(5):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(100):
            dense(ops, q, k, v, path)
        best = min(best, (time.perf_counter() - begin) * 1e4)
    assert best < 60


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"k": (1, 2, 8, 32)}, ValueError, "head_dim"),
        ({"v": (1, 2, 9, 64)}, ValueError, "v must have k's"),
        ({"k": (1, 3, 8, 64), "v": (1, 3, 8, 64)}, ValueError, "multiple of k's heads"),
        ({"k": (2, 2, 8, 64), "v": (2, 2, 8, 64)}, ValueError, "batch"),
        ({"path": "f4"}, ValueError, "path must be"),
        ({"accumulator": "fp64"}, ValueError, "pv_accum_dtype"),
        ({"gran": "per_head"}, ValueError, "granularity"),
        ({"layout": 2}, ValueError, "layout"),
        ({"scale": float("nan")}, ValueError, "sm_scale"),
        ({"mask": (3, 4, 8, 8)}, ValueError, "broadcast"),
    ],
)
def test_errors_say_what_and_what_is_allowed(
    ops: Any, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    q, k, v = (randn(*change.get(name, (1, 4 if name == "q" else 2, 8, 64))) for name in "qkv")
    mask = torch.zeros(change["mask"], device="cuda") if "mask" in change else None
    with pytest.raises(error, match=words):
        ops.attention(
            *(q, k, v, mask, change.get("layout", 0), False, change.get("scale", 0.1), change.get("path", "f16")),
            *(change.get("gran", "per_thread"), change.get("accumulator", "fp32"), True, False, False),
        )
