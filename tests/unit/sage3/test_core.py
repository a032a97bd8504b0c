"""The public function over operators that have schemas and fakes and no kernels, on tensors without memory."""

from __future__ import annotations

import importlib
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

from sageattn3 import _native  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
RECORD = {
    "format": 1,
    "version": "1.0.0",
    "torch": "2.8.0",
    "torch_requirement": "torch==2.8.*",
    "cuda": "12.8",
    "archs": ["sm_120a"],
}


@pytest.fixture(scope="module")
def core() -> Iterator[Any]:
    source = (ROOT / "kernels/binding/sageattn3.cpp").read_text("utf-8")
    library = torch.library.Library("sageattn3", "DEF")
    for text in re.findall(r"m\.def\(\s*((?:\"[^\"]*\"\s*)+)", source):
        library.define("".join(re.findall(r"\"([^\"]*)\"", text)))
    patch = pytest.MonkeyPatch()
    patch.setattr(_native, "load", lambda: _native.parse(json.dumps(RECORD)))
    yield importlib.import_module("sageattn3.core")
    patch.undo()
    del library


@pytest.fixture(autouse=True)
def no_memory() -> Iterator[None]:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        yield


@pytest.fixture
def gpu(core: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def pretend(capability: tuple[int, int]) -> None:
        monkeypatch.setattr(
            core, "_unsupported", lambda _index: _native.unsupported(core._record, "Some GPU", capability)
        )

    pretend((12, 0))
    return pretend


def qkv(shape: tuple[int, ...] = (2, 4, 100, 64), **options: Any) -> list[Any]:
    options = {"dtype": torch.float16, "device": "cuda", **options}
    return [torch.empty(shape, **options) for _ in range(3)]


@pytest.mark.parametrize("layout", ["HND", "NHD"])
@pytest.mark.parametrize("lse", [False, True])
def test_shapes(core: Any, gpu: Any, layout: str, lse: bool) -> None:
    assert gpu
    result = core.sageattn3_blackwell(*qkv(), tensor_layout=layout, return_lse=lse)
    out = result[0] if lse else result
    assert (out.shape, out.dtype) == ((2, 4, 100, 64), torch.float16)
    if lse:
        assert result[1].shape == ((2, 4, 100) if layout == "HND" else (2, 100, 4))
        assert result[1].dtype == torch.float32


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (TypeError, "unexpected keyword argument 'scales'", {"scales": 1.0}),
        (TypeError, "both sm_scale and scale", {"scale": 1.0, "sm_scale": 1.0}),
        (ValueError, "no dropout", {"dropout_p": 0.1}),
        (ValueError, "'HND'", {"tensor_layout": "BSHD"}),
        (ValueError, "fallback", {"fallback": "triton"}),
    ],
)
def test_arguments_that_mean_nothing_raise(
    core: Any, gpu: Any, error: type[Exception], words: str, arguments: dict[str, Any]
) -> None:
    assert gpu
    with pytest.raises(error, match=words):
        core.sageattn3_blackwell(*qkv(), **arguments)


def test_tensors_that_do_not_fit_raise(core: Any, gpu: Any) -> None:
    assert gpu
    q, k, v = qkv()
    with pytest.raises(TypeError, match="list"):
        core.sageattn3_blackwell([1], k, v)
    with pytest.raises(ValueError, match="4 dimensions"):
        core.sageattn3_blackwell(*qkv((4, 100, 64)))
    with pytest.raises(TypeError, match="float16"):
        core.sageattn3_blackwell(*qkv(dtype=torch.float32))
    with pytest.raises(ValueError, match="one CUDA device"):
        core.sageattn3_blackwell(*qkv(device="cpu"))
    with pytest.raises(RuntimeError, match="no backward"):
        core.sageattn3_blackwell(q.requires_grad_(), k, v)


def test_what_fp4_cannot_serve_names_the_alternative(core: Any, gpu: Any) -> None:
    mask = torch.empty((100, 100), dtype=torch.bool, device="cuda")
    with pytest.raises(NotImplementedError, match="sageattention"):
        core.sageattn3_blackwell(*qkv(), attn_mask=mask)
    with pytest.raises(ValueError, match="head dim is 256"):
        core.sageattn3_blackwell(*qkv((1, 1, 8, 256)))
    gpu((9, 0))
    with pytest.raises(RuntimeError, match=r"Some GPU .*no FP4.*sageattention"):
        core.sageattn3_blackwell(*qkv())


@pytest.mark.parametrize(
    ("capability", "mask", "head_dim"), [((9, 0), False, 64), ((12, 0), True, 64), ((12, 0), False, 200)]
)
def test_the_fallback_gets_the_whole_call(
    core: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], mask: bool, head_dim: int
) -> None:
    gpu(capability)
    seen: dict[str, Any] = {}

    def sageattn(*_: Any, **arguments: Any) -> str:
        seen.update(arguments)
        return "its result"

    module = types.ModuleType("sageattention")
    module.sageattn = sageattn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sageattention", module)
    attn_mask = torch.empty((8, 8), device="cuda") if mask else None
    result = core.sageattn3_blackwell(
        *qkv((1, 2, 8, head_dim)),
        attn_mask=attn_mask,
        is_causal=True,
        tensor_layout="NHD",
        scale=0.5,
        return_lse=True,
        fallback="sageattention",
    )
    assert result == "its result"
    assert seen.pop("attn_mask") is attn_mask
    assert seen == {"tensor_layout": "NHD", "is_causal": True, "sm_scale": 0.5, "return_lse": True}


def test_a_missing_fallback_is_named(core: Any, gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu((8, 0))
    monkeypatch.setitem(sys.modules, "sageattention", None)
    with pytest.raises(RuntimeError, match='fallback="sageattention" needs that package'):
        core.sageattn3_blackwell(*qkv(), fallback="sageattention")


def test_the_quantizers_fakes_give_their_shapes(core: Any) -> None:
    ops = core._ops
    q, k, v = qkv((2, 4, 300, 72))
    records, mean, dot = ops.quantize_q(q, None, None, 0)
    assert (records.shape, mean.shape, dot.shape) == ((2, 4, 3, 72 * 128 + 16), (2, 4, 3, 128), (0, 4, 300))
    means = torch.empty((2, 4, 128), device="cuda")
    assert ops.quantize_q(q, means, means, 0)[1].shape == (2, 4, 1, 128)
    assert ops.quantize_k(k, means, 0).shape == (2, 4, 3, 72 * 128 + 16)
    assert [x.shape for x in ops.quantize_v(v, 0)] == [(2, 4, 3, 72 * 128), (2, 4, 128)]
