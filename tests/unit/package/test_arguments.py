"""What the entry points accept and refuse, on tensors without memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

pytestmark = pytest.mark.usefixtures("gpu", "fake_mode")

DENSE = (
    "sageattn",
    "sageattn_qk_int8_pv_fp16_cuda",
    "sageattn_qk_int8_pv_fp8_cuda",
    "sageattn_qk_int8_pv_fp8_cuda_sm90",
    "sageattn_qk_int8_pv_fp16_triton",
)


def make(*shape: int, dtype: Any = None, device: str = "cuda", grad: bool = False) -> Any:
    return torch.empty(shape, dtype=dtype or torch.float16, device=device, requires_grad=grad)


def qkv(shape: tuple[int, ...] = (2, 4, 5, 64), **options: Any) -> tuple[Any, Any, Any]:
    return make(*shape, **options), make(*shape, **options), make(*shape, **options)


@pytest.fixture(params=DENSE)
def entry(request: pytest.FixtureRequest, core: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(core, request.param)
    return function


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("sageattn", "q k v tensor_layout is_causal sm_scale return_lse attn_mask kwargs"),
        (
            "sageattn_qk_int8_pv_fp16_triton",
            "q k v tensor_layout quantization_backend is_causal attn_mask sm_scale smooth_k return_lse kwargs",
        ),
        (
            "sageattn_qk_int8_pv_fp16_cuda",
            "q k v tensor_layout is_causal qk_quant_gran sm_scale pv_accum_dtype smooth_k smooth_v return_lse "
            "attn_mask kwargs",
        ),
        (
            "sageattn_qk_int8_pv_fp8_cuda",
            "q k v tensor_layout is_causal qk_quant_gran sm_scale pv_accum_dtype smooth_k smooth_v return_lse "
            "attn_mask kwargs",
        ),
        (
            "sageattn_qk_int8_pv_fp8_cuda_sm90",
            "q k v tensor_layout is_causal qk_quant_gran sm_scale pv_accum_dtype smooth_k return_lse attn_mask kwargs",
        ),
        (
            "sageattn_varlen",
            "q k v cu_seqlens_q cu_seqlens_k max_seqlen_q max_seqlen_k is_causal sm_scale smooth_k return_lse kwargs",
        ),
    ],
)
def test_parameters_stand_in_the_documented_order(core: Any, name: str, parameters: str) -> None:
    assert list(inspect.signature(getattr(core, name)).parameters) == parameters.split()


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("sageattn_qk_int8_pv_fp16_cuda", {"qk_quant_gran": "per_thread", "pv_accum_dtype": "fp32", "smooth_v": False}),
        ("sageattn_qk_int8_pv_fp8_cuda", {"pv_accum_dtype": "fp32+fp16", "smooth_k": True, "smooth_v": False}),
        ("sageattn_qk_int8_pv_fp8_cuda_sm90", {"pv_accum_dtype": "fp32+fp32", "qk_quant_gran": "per_thread"}),
        ("sageattn_qk_int8_pv_fp16_triton", {"quantization_backend": "triton", "smooth_k": True}),
        ("sageattn", {"tensor_layout": "HND", "is_causal": False, "sm_scale": None, "return_lse": False}),
    ],
)
def test_defaults_are_the_documented_ones(core: Any, name: str, defaults: dict[str, Any]) -> None:
    parameters = inspect.signature(getattr(core, name)).parameters
    assert {key: parameters[key].default for key in defaults} == defaults


def test_arguments_that_ask_for_nothing_are_accepted(entry: Callable[..., Any]) -> None:
    out = entry(*qkv(), attn_mask=None, dropout_p=0.0, smooth_k=False)
    assert out.shape == (2, 4, 5, 64)
    out, lse = entry(*qkv(), return_lse=True, dropout_p=0, smooth_v=False)
    assert lse.shape == (2, 4, 5)


@pytest.mark.parametrize(
    ("keyword", "meant"),
    [("scale", "sm_scale"), ("softmax_scale", "sm_scale"), ("causal", "is_causal"), ("tensor_layut", "tensor_layout")],
)
def test_an_unknown_name_is_a_type_error_with_the_nearest(entry: Callable[..., Any], keyword: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"{keyword}.*did you mean {meant}\?"):
        entry(*qkv(), **{keyword: 1})


def test_a_name_like_no_other_gets_the_list(entry: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"zzz.*it takes q, k, v, tensor_layout"):
        entry(*qkv(), zzz=1)


def test_dropout_is_refused(entry: Callable[..., Any], core: Any) -> None:
    with pytest.raises(ValueError, match=r"dropout_p is 0\.1"):
        entry(*qkv(), dropout_p=0.1)
    with pytest.raises(ValueError, match=r"dropout_p is 0\.5"):
        varlen(core, dropout_p=0.5)


@pytest.mark.parametrize("value", ["hnd", "BSHD", None, 1, ["HND"]])
def test_an_unknown_layout_is_refused(entry: Callable[..., Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"'HND'.*'NHD'"):
        entry(*qkv(), tensor_layout=value)


@pytest.mark.parametrize(
    ("name", "option", "allowed"),
    [
        ("sageattn_qk_int8_pv_fp16_cuda", "pv_accum_dtype", "'fp32', 'fp16', 'fp16+fp32'"),
        ("sageattn_qk_int8_pv_fp16_cuda", "qk_quant_gran", "'per_thread', 'per_warp'"),
        ("sageattn_qk_int8_pv_fp8_cuda", "pv_accum_dtype", "'fp32+fp16', 'fp32+fp32', 'fp32'"),
        ("sageattn_qk_int8_pv_fp8_cuda_sm90", "pv_accum_dtype", "'fp32+fp16', 'fp32+fp32'"),
        ("sageattn_qk_int8_pv_fp16_triton", "quantization_backend", "'triton', 'cuda'"),
    ],
)
def test_an_unknown_value_is_refused_with_the_list(core: Any, name: str, option: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{option} is 'fp64'; it must be one of {allowed}".replace("+", r"\+")):
        getattr(core, name)(*qkv(), **{option: "fp64"})


def test_wrong_tensors_are_refused(entry: Callable[..., Any]) -> None:
    q, k, v = qkv()
    half = torch.float16
    cases: list[tuple[type[Exception], str, tuple[Any, Any, Any]]] = [
        (TypeError, "k is a list", (q, [1], v)),
        (ValueError, "q has shape", (make(4, 5, 64), k, v)),
        (TypeError, "float32", tuple(make(2, 4, 5, 64, dtype=torch.float32) for _ in "qkv")),
        (TypeError, "float16, bfloat16, float16", (q, k.to(torch.bfloat16), v)),
        (ValueError, "on cpu", qkv(device="cpu", dtype=half)),
        (ValueError, "k and v must have one shape", (q, k, make(2, 4, 6, 64))),
        (ValueError, "k and v must have one shape", (q, k, make(2, 4, 5, 32))),
        (ValueError, "batch", (q, make(1, 4, 5, 64), make(1, 4, 5, 64))),
        (ValueError, "head dim", (q, make(2, 4, 5, 32), make(2, 4, 5, 32))),
        (ValueError, "multiple", (q, make(2, 3, 5, 64), make(2, 3, 5, 64))),
        (ValueError, "multiple", (q, make(2, 0, 5, 64), make(2, 0, 5, 64))),
        (ValueError, "head dim is 257", qkv((1, 1, 5, 257))),
        (ValueError, "head dim is 0", qkv((1, 1, 5, 0))),
    ]
    for kind, message, tensors in cases:
        with pytest.raises(kind, match=message):
            entry(*tensors)


def test_gradients_are_refused_unless_the_mode_is_off(entry: Callable[..., Any]) -> None:
    q, k, v = qkv()
    wanted = make(2, 4, 5, 64, grad=True)
    for tensors in ((wanted, k, v), (q, wanted, v), (q, k, wanted)):
        with pytest.raises(RuntimeError, match="no backward pass"):
            entry(*tensors)
        with torch.no_grad():
            assert entry(*tensors).shape == q.shape


@pytest.mark.parametrize("shape", [(5, 7), (1, 7), (4, 1, 7), (2, 1, 5, 7), (1, 1, 1, 1), (2, 4, 5, 7), (), (7,)])
def test_masks_broadcast(entry: Callable[..., Any], shape: tuple[int, ...]) -> None:
    q, k = make(2, 4, 5, 64), make(2, 2, 7, 64)
    for dtype in (torch.bool, torch.float16, torch.float32):
        assert entry(q, k, k, attn_mask=make(*shape, dtype=dtype)).shape == q.shape
    assert entry(q, k, k, attn_mask=make(*shape, dtype=torch.bool), is_causal=True).shape == q.shape


def test_wrong_masks_are_refused(entry: Callable[..., Any]) -> None:
    q, k = make(2, 4, 5, 64), make(2, 2, 7, 64)
    for shape in ((6, 7), (3, 5, 7), (1, 2, 4, 5, 7), (2, 2, 5, 7)):
        with pytest.raises(ValueError, match=r"broadcast to \[B, Hq, Sq, Sk\] = \[2, 4, 5, 7\]"):
            entry(q, k, k, attn_mask=make(*shape, dtype=torch.bool))
    for dtype in (torch.int64, torch.bfloat16, torch.float64):
        with pytest.raises(TypeError, match="must be bool, float16 or float32"):
            entry(q, k, k, attn_mask=make(5, 7, dtype=dtype))
    with pytest.raises(TypeError, match="attn_mask is a list"):
        entry(q, k, k, attn_mask=[True])
    with pytest.raises(ValueError, match="one device"):
        entry(q, k, k, attn_mask=make(5, 7, dtype=torch.bool, device="cpu"))


def test_a_scale_that_is_a_tensor_is_refused(entry: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="sm_scale is a tensor"):
        entry(*qkv(), sm_scale=make(1))


def varlen(core: Any, **changes: Any) -> Any:
    q, offsets = make(9, 4, 64), torch.empty(3, dtype=torch.int32, device="cuda")
    arguments = {
        "q": q,
        "k": make(9, 2, 64),
        "v": make(9, 2, 64),
        "cu_seqlens_q": offsets,
        "cu_seqlens_k": offsets,
        "max_seqlen_q": 5,
        "max_seqlen_k": 5,
    }
    return core.sageattn_varlen(**{**arguments, **changes})


def test_varlen(core: Any) -> None:
    assert varlen(core, dropout_p=0.0, attn_mask=None).shape == (9, 4, 64)
    out, lse = varlen(core, return_lse=True, is_causal=True)
    assert out.shape == (9, 4, 64)
    assert lse.shape == (4, 9)


def test_varlen_refuses(core: Any) -> None:
    int64, half = torch.empty(3, dtype=torch.int64, device="cuda"), make(3)
    assert varlen(core, cu_seqlens_q=int64).shape == (9, 4, 64)
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "attn_mask is given", {"attn_mask": make(9, 9)}),
        (TypeError, "did you mean sm_scale", {"scale": 1}),
        (TypeError, "cu_seqlens_q is float16", {"cu_seqlens_q": half}),
        (ValueError, "one dimension", {"cu_seqlens_k": [0, 9]}),
        (ValueError, "same length", {"cu_seqlens_k": torch.empty(4, dtype=torch.int32, device="cuda")}),
        (ValueError, "one device", {"cu_seqlens_k": torch.empty(3, dtype=torch.int32, device="cpu")}),
        (ValueError, "3 dimensions", {"q": make(1, 9, 4, 64)}),
        (ValueError, "one shape", {"v": make(8, 2, 64)}),
        (ValueError, "multiple", {"q": make(9, 3, 64)}),
    ]
    for kind, message, changes in cases:
        with pytest.raises(kind, match=message):
            varlen(core, **changes)
