"""The kernels that take rows of any stride, run on the CPU: to int8 in their own shape, and to aligned rows."""

from __future__ import annotations

import ctypes
import shutil
from typing import Any

import pytest

from tests.integration.kernels.conftest import Launch
from tests.integration.kernels.operands import Rows

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")]

DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["f16", "bf16"])
GAPS = pytest.mark.parametrize("gap", [0, 3, 8], ids=["whole", "odd stride", "gap"])


class Int8Params(ctypes.Structure):
    """struct QuantInt8Params of kernels/include/sage/params.h."""

    _fields_ = [
        ("x", Rows),
        ("x8", ctypes.c_void_p),
        *((name, ctypes.c_longlong) for name in ("x8_batch", "x8_head", "x8_token")),
        ("scale", ctypes.c_void_p),
        ("mean", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("B", "H", "S", "head_dim", "block", "groups")),
    ]


class PackParams(ctypes.Structure):
    """struct PackParams."""

    _fields_ = [
        ("x", Rows),
        ("out", Rows),
        ("mean", ctypes.c_void_p),
        ("cu", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("B", "H", "S", "head_dim", "columns", "D", "smooth")),
    ]


def random_rows(shape: tuple[int, ...], gap: int, dtype: Any) -> Any:
    """``[B, H, S, D]`` whose rows lie D + gap apart."""
    generator = torch.Generator().manual_seed(sum(shape))
    wide = torch.randn((*shape[:3], shape[3] + gap), generator=generator) + 3
    return wide.to(dtype)[..., : shape[3]]


def strides(x: Any) -> tuple[int, int, int]:
    return x.stride(0), x.stride(1), x.stride(2)


@DTYPES
@GAPS
@pytest.mark.parametrize("channels", [64, 13])
@pytest.mark.parametrize(("block", "groups", "mean"), [(16, 1, False), (32, 4, True), (128, 4, False)])
def test_int8(
    launched: Launch, reference: Any, dtype: Any, gap: int, channels: int, block: int, groups: int, *, mean: bool
) -> None:
    x = random_rows((2, 3, 150, channels), gap, dtype)
    blocks = -(-150 // block)
    x8 = torch.full((2, 3, 150, channels), 77, dtype=torch.int8)
    scale = torch.full((2, 3, blocks, groups), float("nan"))
    centre = torch.randn((2, 3, channels), generator=torch.Generator().manual_seed(1)) if mean else None
    p = Int8Params(Rows(x.data_ptr(), *strides(x)), x8.data_ptr(), *strides(x8), scale.data_ptr())
    p.mean = None if centre is None else centre.data_ptr()
    p.B, p.H, p.S, p.head_dim, p.block, p.groups = 2, 3, 150, channels, block, groups
    bf16 = int(dtype == torch.bfloat16)
    assert launched("quant_int8.cu", p, 6 * blocks, 128, DTYPE_BF16=bf16) == -1, "a block hangs"
    wanted = reference.quantize_k(x, block, "per_warp" if groups == 1 else "per_thread", centre)
    assert torch.equal(x8, wanted.values)
    assert torch.equal(scale.flatten(2)[:, :, : wanted.scale.shape[2]], wanted.scale)


@DTYPES
@GAPS
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("channels", [64, 13, 200])
def test_aligned_rows(launched: Launch, reference: Any, dtype: Any, gap: int, channels: int, *, smooth: bool) -> None:
    x = random_rows((2, 3, 300, channels), gap, dtype)
    columns, dim = -(-channels // 8) * 8, 64 if channels <= 64 else 256
    out = torch.full((2, 3, 300, columns), 77, dtype=torch.float16 if smooth else dtype)
    mean = torch.full((2, 3, dim), float("nan"))
    p = PackParams(Rows(x.data_ptr(), *strides(x)), Rows(out.data_ptr(), *strides(out)), mean.data_ptr(), None)
    p.B, p.H, p.S, p.head_dim, p.columns, p.D, p.smooth = 2, 3, 300, channels, columns, dim, smooth
    bf16 = int(dtype == torch.bfloat16)
    assert launched("pack.cu", p, 6 * 2 * (dim // 32), 256, DTYPE_BF16=bf16) == -1, "a block hangs"
    assert not out[..., channels:].any()
    if smooth:
        assert torch.equal(mean[..., :channels], reference.sampled_mean(x))
        assert torch.equal(out[..., :channels], (x.float() - mean[:, :, None, :channels]).half())
    else:
        assert torch.equal(out[..., :channels], x)
