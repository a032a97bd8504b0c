"""The kernels that prepare K and V, run on the CPU: bit for bit what the reference makes, of one sequence or a pack."""

from __future__ import annotations

import ctypes
import shutil
from typing import Any

import pytest

from tests.integration.kernels.conftest import Launch
from tests.integration.kernels.operands import TOKENS, Rows, padded

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")]


class KParams(ctypes.Structure):
    """struct QuantKParams of kernels/include/sage/params.h."""

    _fields_ = [
        ("k", Rows),
        *((name, ctypes.c_void_p) for name in ("k8", "scale", "mean", "cu")),
        ("rows", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("B", "H", "S", "head_dim", "block", "per_warp", "smooth")),
        *((name, ctypes.c_int) for name in ("tiles", "tiles_per_cta")),
        ("counter", ctypes.c_void_p),
    ]


class VParams(ctypes.Structure):
    """struct QuantVParams."""

    _fields_ = [
        ("v", Rows),
        *((name, ctypes.c_void_p) for name in ("v8", "scale", "mean", "partial", "cu")),
        ("rows", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("B", "H", "S", "head_dim", "D", "smooth", "chunks", "chunk")),
        ("vmax", ctypes.c_float),
    ]


class Params(ctypes.Structure):
    """struct QuantKVParams."""

    _fields_ = [("k", KParams), ("v", VParams), ("k_blocks", ctypes.c_int), ("v_blocks", ctypes.c_int)]


class ResidentParams(ctypes.Structure):
    """struct QuantKVResidentParams."""

    _fields_ = [
        ("k", KParams),
        ("v", VParams),
        *((name, ctypes.c_int) for name in ("heads", "v_parts", "parts", "early", "late_blocks")),
        *((name, ctypes.c_void_p) for name in ("ready", "counter")),
    ]


class Case:
    """K and V of some sequences, their operands as the launcher would lay them out, and the arguments."""

    def __init__(self, lengths: tuple[int, ...], channels: int, dtype: Any, *, block: int, per_warp: bool) -> None:
        generator = torch.Generator().manual_seed(sum(lengths) + channels)
        self.heads, self.lengths, self.channels = 2, lengths, channels
        self.dim = 64 if channels <= 64 else 128 if channels <= 128 else 256
        tokens = sum(lengths)
        shape = (self.heads, tokens, channels)
        self.k, self.v = ((torch.randn(shape, generator=generator) + 3).to(dtype) for _ in range(2))
        self.v[:, :, 1] = 0
        self.packed = len(lengths) > 1
        self.starts = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
        self.first_rows = [(s // 128 + i) * 128 for i, s in enumerate(self.starts[:-1])] if self.packed else [0]
        self.rows = (tokens // 128 + len(lengths)) * 128 if self.packed else padded(tokens)
        self.block, self.per_warp = block, per_warp
        self.k8 = torch.full((self.heads, self.rows, self.dim), 77, dtype=torch.int8)
        self.k_scale = torch.full((self.heads, self.rows // block, 4), float("nan"))
        self.v8 = torch.full((self.heads, self.dim, self.rows), 77, dtype=torch.int8)
        statistics = (len(lengths), self.heads, self.dim)
        self.k_mean, self.v_mean, self.v_scale = (torch.full(statistics, float("nan")) for _ in range(3))
        self.cu = torch.tensor(self.starts, dtype=torch.int32)
        self.counter = torch.tensor([5], dtype=torch.int32)

    def params(self, *, smooth: bool, vmax: float, fused: bool) -> Params:
        p = Params()
        longest, sequences = max(self.lengths), len(self.lengths)
        stride = self.k.shape[1] * self.channels
        k, v = p.k, p.v
        k.k, v.v = Rows(self.k.data_ptr(), 0, stride, self.channels), Rows(self.v.data_ptr(), 0, stride, self.channels)
        k.k8, k.scale, k.mean = self.k8.data_ptr(), self.k_scale.data_ptr(), self.k_mean.data_ptr()
        v.v8, v.scale, v.mean = self.v8.data_ptr(), self.v_scale.data_ptr(), self.v_mean.data_ptr()
        k.counter = self.counter.data_ptr()
        for x in (k, v):
            x.B, x.H, x.S, x.rows, x.head_dim, x.smooth = (
                sequences,
                self.heads,
                longest,
                self.rows,
                self.channels,
                smooth,
            )
            x.cu = self.cu.data_ptr() if self.packed else None
        k.block, k.per_warp, k.tiles, k.tiles_per_cta = self.block, self.per_warp, -(-longest // 128), 2
        p.k_blocks = sequences * self.heads * -(-k.tiles // 2)
        # As plan_quant_v in kernels/launch/quant.h, but for smaller chunks where V takes two passes.
        clusters = 1 << (-(-longest // 1024) - 1).bit_length()
        v.D, v.vmax, v.chunk = self.dim, vmax, padded(-(-longest // clusters)) if fused else 256
        v.chunks = clusters if fused else -(-longest // v.chunk)
        self.partial = torch.full((sequences * self.heads * v.chunks * self.dim,), float("nan"))
        v.partial = self.partial.data_ptr()
        p.v_blocks = sequences * self.heads * (self.dim // 32) * v.chunks
        return p

    def check_k(self, i: int, reference: Any, mean: Any) -> None:
        """K of sequence i is, bit for bit, what the reference makes of it with that mean (or none)."""
        length, channels = self.lengths[i], self.channels
        row, end = self.first_rows[i], self.first_rows[i] + padded(length)
        kept = self.k_mean[i, :, :channels]
        assert torch.equal(kept, torch.zeros_like(kept) if mean is None else mean[0])
        k = self.k[None, :, self.starts[i] : self.starts[i] + length]
        wanted = reference.quantize_k(k, self.block, "per_warp" if self.per_warp else "per_thread", mean)
        assert torch.equal(self.k8[:, row : row + length, :channels], wanted.values[0])
        assert not self.k8[:, row + length : end].any()
        assert not self.k8[:, row:end, channels:].any()
        scales = self.k_scale[:, row // self.block : end // self.block]
        if self.per_warp:
            assert torch.equal(scales[..., 0], scales[..., 3])
        given = (scales[..., 0] if self.per_warp else scales.flatten(1))[:, : wanted.scale.shape[2]]
        assert torch.equal(given, wanted.scale[0])

    def check_v(self, i: int, reference: Any, mean: Any, vmax: float) -> None:
        """The same of V."""
        length, channels = self.lengths[i], self.channels
        row, end = self.first_rows[i], self.first_rows[i] + padded(length)
        kept = self.v_mean[i, :, :channels]
        assert torch.equal(kept, torch.zeros_like(kept) if mean is None else mean[0])
        made = reference.quantize_v(self.v[None, :, self.starts[i] : self.starts[i] + length], vmax, mean)
        v8 = self.v8[:, :, row:end].view(self.heads, self.dim, -1, 16)
        natural = torch.empty_like(v8)
        natural[..., torch.tensor(TOKENS)] = v8
        natural = natural.reshape(self.heads, self.dim, -1)
        assert torch.equal(natural[:, :channels, :length], made.values[0].view(torch.int8).transpose(1, 2))
        assert not natural[:, :, length:].any()
        assert torch.equal(self.v_scale[i, :, :channels], made.scale[0, :, 0])

    def check(self, reference: Any, *, smooth_k: bool, smooth_v: bool, vmax: float) -> None:
        for i, length in enumerate(self.lengths):
            if length:
                tokens = slice(self.starts[i], self.starts[i] + length)
                sides = ((self.k, smooth_k), (self.v, smooth_v))
                k_mean, v_mean = (reference.sampled_mean(x[None, :, tokens]) if wanted else None for x, wanted in sides)
                self.check_k(i, reference, k_mean)
                self.check_v(i, reference, v_mean, vmax)


@pytest.mark.parametrize("fused", [False, True], ids=["two passes", "one pass"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize(
    ("lengths", "channels"),
    [((1,), 64), ((200,), 128), ((517,), 64), ((300,), 72), ((130,), 13), ((5, 0, 300, 129), 64), ((9, 2500), 72)],
    ids=["one token", "plain", "chunks", "padded", "unaligned", "packed", "clusters"],
)
@pytest.mark.parametrize(
    ("block", "per_warp", "smooth"),
    [(64, False, True), (128, True, True), (128, False, False)],
    ids=["64", "128 a warp", "128 plain"],
)
def test_k_and_v(
    launched: Launch,
    reference: Any,
    dtype: Any,
    lengths: tuple[int, ...],
    channels: int,
    block: int,
    *,
    per_warp: bool,
    smooth: bool,
    fused: bool,
) -> None:
    case = Case(lengths, channels, dtype, block=block, per_warp=per_warp)
    params = case.params(smooth=smooth, vmax=448.0, fused=fused)
    macros = {"DTYPE_BF16": int(dtype == torch.bfloat16), "__CUDA_ARCH__": 900 if fused else 890}
    cluster = params.v.chunks if fused else 1
    grid = -(-params.k_blocks // cluster) * cluster + params.v_blocks
    both = {**macros, "HEAD_DIM": case.dim, "MODE": int(not fused)}
    assert launched("quant_kv.cu", params, grid, 256, cluster, **both) == -1, "a block hangs"
    if not fused:
        assert launched("quant_v.cu", params.v, params.v_blocks, 256, **macros) == -1, "a block hangs"
    assert int(case.counter) == 0
    case.check(reference, smooth_k=smooth, smooth_v=smooth, vmax=448.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize(
    ("lengths", "channels"),
    [((1,), 64), ((517,), 128), ((130,), 40), ((5, 0, 300, 129), 64), ((9, 2500), 72)],
    ids=["one token", "plain", "padded", "packed", "chunks"],
)
@pytest.mark.parametrize(("blocks", "early", "late_blocks"), [(2, 10**6, 1), (3, 4, 1), (5, 0, 2), (1, 3, 1)])
@pytest.mark.parametrize("with_k", [True, False], ids=["k and v", "v"])
def test_resident_blocks(
    launched: Launch,
    reference: Any,
    dtype: Any,
    lengths: tuple[int, ...],
    channels: int,
    blocks: int,
    early: int,
    late_blocks: int,
    *,
    with_k: bool,
) -> None:
    case = Case(lengths, channels, dtype, block=128, per_warp=False)
    both = case.params(smooth=True, vmax=1.125, fused=True)
    p = ResidentParams(both.k, both.v)
    p.k.counter, p.counter = None, case.counter.data_ptr()
    p.v.smooth = 0
    p.k.tiles_per_cta = max(2, -(-p.k.tiles // 8))  # the launcher gives more, which leaves fewer parts
    p.heads, p.v_parts = len(lengths) * case.heads, case.dim // 32
    p.parts = p.v_parts + (-(-p.k.tiles // p.k.tiles_per_cta) if with_k else 0)
    if not with_k:
        p.k.k, p.k.k8, p.k.scale, p.k.mean = Rows(), None, None, None
    p.early, p.late_blocks = min(early, p.heads * p.parts), late_blocks
    ready = torch.full((p.heads, 16), 3, dtype=torch.uint8)  # each is cleared, then set once (emulator/sage/sync.h)
    p.ready = ready.data_ptr()
    macros = {"DTYPE_BF16": int(dtype == torch.bfloat16), "__CUDA_ARCH__": 900, "HEAD_DIM": case.dim}
    macros["WITH_K"] = int(with_k)
    assert launched("quant_kv_resident.cu", p, blocks, 768, **macros) == -1, "a block hangs"
    assert int(case.counter) == 0
    assert bool((ready == 1).all())
    if with_k:
        case.check(reference, smooth_k=True, smooth_v=False, vmax=1.125)
    else:
        for i in (i for i, length in enumerate(lengths) if length):
            case.check_v(i, reference, None, 1.125)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
@pytest.mark.parametrize("lengths", [(1,), (517,), (5, 0, 300, 129)], ids=["one token", "plain", "packed"])
@pytest.mark.parametrize(("channels", "block"), [(64, 64), (72, 128), (200, 64), (131, 64)])
def test_k_alone(
    launched: Launch, reference: Any, dtype: Any, lengths: tuple[int, ...], channels: int, block: int
) -> None:
    case = Case(lengths, channels, dtype, block=block, per_warp=False)
    params = case.params(smooth=True, vmax=448.0, fused=False)
    macros = {"HEAD_DIM": case.dim, "DTYPE_BF16": int(dtype == torch.bfloat16), "__CUDA_ARCH__": 900}
    assert launched("quant_k.cu", params.k, params.k_blocks, 256, **macros) == -1, "a block hangs"
    for i, length in enumerate(lengths):
        if length:
            case.check_k(
                i, reference, reference.sampled_mean(case.k[None, :, case.starts[i] : case.starts[i] + length])
            )
