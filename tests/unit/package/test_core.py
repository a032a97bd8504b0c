"""Which operator call each entry point makes on each GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")

Pretend = Callable[..., None]


@pytest.fixture(autouse=True)
def fake(request: pytest.FixtureRequest) -> None:
    if "gpu" in request.fixturenames:
        request.getfixturevalue("fake_mode")


def qkv(head_dim: int = 64, layout: str = "HND") -> tuple[Any, Any, Any]:
    shape = (2, 4, 5, head_dim) if layout == "HND" else (2, 5, 4, head_dim)
    return tuple(torch.empty(shape, dtype=torch.bfloat16, device="cuda") for _ in "qkv")


@pytest.fixture
def calls(core: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every call of the attention operator after q, k, v."""
    seen: list[dict[str, Any]] = []
    real = core._ops.attention
    names = [argument.name for argument in real._schema.arguments]

    def record(*arguments: Any) -> Any:
        seen.append(dict(zip(names, arguments, strict=True)))
        return real(*arguments)

    monkeypatch.setattr(core._ops, "attention", record)
    return seen


@pytest.mark.parametrize(
    ("capability", "path", "gran", "accum"),
    [
        ((8, 0), "f16", "per_thread", "fp32"),
        ((8, 6), "f16", "per_thread", "fp32"),
        ((8, 9), "f8", "per_thread", "fp32+fp16"),
        ((9, 0), "f8_sm90_qk16", "none", "fp32+fp16"),
        ((12, 0), "f8", "per_warp", "fp32+fp16"),
    ],
)
@pytest.mark.parametrize("head_dim", [8, 64, 100, 128, 129, 256])
def test_sageattn_takes_the_path_of_the_gpu(
    core: Any,
    gpu: Pretend,
    calls: list[Any],
    capability: tuple[int, int],
    path: str,
    gran: str,
    accum: str,
    head_dim: int,
) -> None:
    gpu(*capability)
    core.sageattn(*qkv(head_dim), smooth_k=False)
    expected = (path, gran, accum) if head_dim <= 128 else ("f16", "per_thread", "fp32")
    call = calls[0]
    assert (call["path"], call["qk_quant_gran"], call["pv_accum_dtype"]) == expected
    assert call["smooth_k"] is True
    assert call["sm_scale"] == pytest.approx(head_dim**-0.5)


@pytest.mark.parametrize(
    ("head_dim", "queries", "options", "quantized"),
    [
        (64, 100_000, {}, False),
        (65, 512, {}, False),
        (128, 513, {}, True),
        (128, 1024, {"is_causal": True}, False),
        (128, 1025, {"is_causal": True}, True),
        (64, 5, {"sm_scale": -0.5}, True),
        (64, 5, {"sm_scale": 0.0}, False),
        (64, 5, {"attn_mask": True}, True),
    ],
)
@pytest.mark.parametrize("layout", ["HND", "NHD"])
def test_hopper_quantizes_q_and_k_where_it_pays(
    core: Any,
    gpu: Pretend,
    calls: list[Any],
    head_dim: int,
    queries: int,
    options: dict[str, Any],
    quantized: bool,
    layout: str,
) -> None:
    """Four heads of q share two of k, so that a key has twice as many rows as there are queries."""
    gpu(9, 0)
    q, k, v = (
        torch.empty((1, h, s, head_dim) if layout == "HND" else (1, s, h, head_dim), dtype=torch.float16, device="cuda")
        for h, s in ((4, queries), (2, 7), (2, 7))
    )
    if "attn_mask" in options:
        options = {"attn_mask": torch.ones(queries, 7, dtype=torch.bool, device="cuda")}
    core.sageattn(q, k, v, layout, **options)
    expected = ("f8_sm90", "per_thread") if quantized else ("f8_sm90_qk16", "none")
    assert (calls[0]["path"], calls[0]["qk_quant_gran"]) == expected
    assert core.explain(q, k, v, layout, **options).path == expected[0]


def test_one_call_makes_one_operator_call(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(9, 0)
    out = core.sageattn(*qkv(layout="NHD"), "NHD", True, -0.5)
    assert len(calls) == 1
    assert (calls[0]["layout"], calls[0]["is_causal"], calls[0]["sm_scale"]) == (1, True, -0.5)
    assert out.is_contiguous()


def test_the_fp8_entry_runs_wgmma_on_hopper(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(9, 0)
    core.sageattn_qk_int8_pv_fp8_cuda(*qkv(), qk_quant_gran="per_warp", pv_accum_dtype="fp32")
    assert (calls[0]["path"], calls[0]["pv_accum_dtype"], calls[0]["qk_quant_gran"]) == (
        "f8_sm90",
        "fp32+fp32",
        "per_warp",
    )


def test_the_fp8_entry_keeps_what_is_asked_where_the_hardware_has_it(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(8, 9)
    for accum in ("fp32", "fp32+fp32", "fp32+fp16"):
        core.sageattn_qk_int8_pv_fp8_cuda(*qkv(), pv_accum_dtype=accum, smooth_v=True, smooth_k=False)
    assert [call["pv_accum_dtype"] for call in calls] == ["fp32", "fp32+fp32", "fp32+fp16"]
    assert [call["smooth_v"] for call in calls] == [True, False, False]
    assert not any(call["smooth_k"] for call in calls)


def test_cuda_12_4_has_no_fp16_sum_of_fp8(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(8, 9, cuda="12.4")
    core.sageattn(*qkv())
    core.sageattn_qk_int8_pv_fp8_cuda(*qkv())
    assert [call["pv_accum_dtype"] for call in calls] == ["fp32+fp32", "fp32+fp32"]


def test_the_fp16_entry_smooths_v_for_fp16_sums_only(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(8, 0)
    for accum in ("fp32", "fp16", "fp16+fp32"):
        core.sageattn_qk_int8_pv_fp16_cuda(*qkv(256), pv_accum_dtype=accum, smooth_v=True)
    assert [call["smooth_v"] for call in calls] == [False, True, False]
    assert {call["path"] for call in calls} == {"f16"}


def test_fp8_entries_refuse_a_gpu_without_it(core: Any, gpu: Pretend) -> None:
    gpu(8, 6)
    with pytest.raises(RuntimeError, match=r"GPU 8\.6 .*sageattn_qk_int8_pv_fp16_cuda runs here"):
        core.sageattn_qk_int8_pv_fp8_cuda(*qkv())
    gpu(8, 9)
    with pytest.raises(RuntimeError, match=r"compute capability 9\.0"):
        core.sageattn_qk_int8_pv_fp8_cuda_sm90(*qkv())
    gpu(9, 0)
    with pytest.raises(ValueError, match="head dim is 160"):
        core.sageattn_qk_int8_pv_fp8_cuda(*qkv(160))


def test_a_gpu_without_code_gets_the_sentence(core: Any, gpu: Pretend) -> None:
    gpu(10, 0)
    for function in (core.sageattn, core.sageattn_qk_int8_pv_fp16_cuda, core.sageattn_qk_int8_pv_fp8_cuda):
        with pytest.raises(RuntimeError, match=r"GPU 10\.0 \(compute capability 10\.0\); a wheel with sm_100a"):
            function(*qkv())
    assert core.sageattn_qk_int8_pv_fp16_triton(*qkv()).shape == (2, 4, 5, 64)


def test_strides_go_through_as_they_are(core: Any, gpu: Pretend, calls: list[Any]) -> None:
    gpu(9, 0)
    expanded = torch.empty(1, 1, 5, 64, dtype=torch.float16, device="cuda").expand(2, 4, 5, 64)
    core.sageattn(expanded, expanded, expanded)
    assert calls[0]["q"] is expanded


def test_flags_and_versions(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (core.SM80_ENABLED, core.SM89_ENABLED, core.SM90_ENABLED) == (True, True, True)
    assert core.__version__ == "2.2.0"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: [(9, 0), (12, 1)][index])
    assert core.get_cuda_arch_versions() == ["sm90", "sm121"]


def test_only_a_strange_last_stride_is_copied(core: Any) -> None:
    x = torch.empty(2, 4, 64, 5, device="cpu").transpose(2, 3)
    assert core._rows(x).stride() == (1280, 320, 64, 1)
    single = x[..., :1]
    assert core._rows(single) is single


def test_explain_says_what_runs_and_why(core: Any, gpu: Pretend) -> None:
    gpu(9, 0)
    said = core.explain(*qkv(40), is_causal=True, attn_mask=None)
    assert (said.arch, said.path, said.kernel) == ("sm_90a", "f8_sm90_qk16", "sage2_wgmma_qk16_bf16_d64_plain")
    for part in ("16-bit QK, FP8 PV (wgmma)", "in their 16 bits", "takes longer than it saves"):
        assert part in str(said)
    said = core.explain(*qkv(40), sm_scale=-1.0)
    assert (said.arch, said.path, said.padded_head_dim) == ("sm_90a", "f8_sm90", 64)
    for part in ("GPU 9.0", "INT8 QK, FP8 PV (wgmma)", "per_thread", "1.125", said.kernel, "cubins/sm_90a.ar"):
        assert part in str(said)
    said = core.explain(*qkv(200))
    assert (said.path, said.kernel) == ("f16", "sage2_mma_bf16_d256")
    assert "f8_sm90 takes head dims up to 128" in said.reason
    with pytest.raises(TypeError, match="sm_scale"):
        core.explain(*qkv(), scale=1)
