"""torch.compile, CUDA graphs under it, and torch's own checks of the operators."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import exact  # noqa: E402 - needs torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

DENSE = ("sageattn", "sageattn_qk_int8_pv_fp16_cuda", "sageattn_qk_int8_pv_fp8_cuda", "sageattn_qk_int8_pv_fp16_triton")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sageattn", {"mode": "default"}),
        ("sageattn", {"mode": "reduce-overhead"}),
        *((name, {"backend": "aot_eager"}) for name in DENSE[1:]),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value.values())),
)
def test_fullgraph_compile(sage: Any, name: str, options: dict[str, str]) -> None:
    function = getattr(sage, name)

    def block(q: Any, k: Any, v: Any, mask: Any) -> Any:
        out, lse = function(q * 1.5, k + 1, v, is_causal=True, attn_mask=mask, return_lse=True, dropout_p=0.0)
        return out.transpose(1, 2).flatten(2) + 1, lse.exp()

    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, **options)
    mask = torch.rand(200, 200, device="cuda") > 0.3
    with torch.no_grad():
        for seed in range(4):
            q, k, v = exact.inputs(tokens=(200, 200), dtype=torch.bfloat16, seed=seed)
            out, lse = (x.clone() for x in compiled(q, k, v, mask))
            expected, expected_lse = block(q, k, v, mask)
            assert exact.error(out, expected.double()) < 0.01
            assert torch.allclose(lse, expected_lse, rtol=0.02, atol=1e-3)


def test_fullgraph_compile_with_changing_lengths(sage: Any) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda q, k, v: sage.sageattn(q, k, v) * 2, fullgraph=True, dynamic=True, backend="aot_eager"
    )
    with torch.no_grad():
        for tokens in (100, 131, 512):
            tensors = exact.inputs(tokens=(tokens, tokens + 7))
            assert exact.error(compiled(*tensors), 2 * exact.attention(*tensors)[0]) < 0.05


def test_fullgraph_compile_of_varlen(sage: Any) -> None:
    torch._dynamo.reset()
    q = torch.randn(100, 4, 64, device="cuda", dtype=torch.float16)
    offsets = torch.tensor([0, 30, 100], device="cuda", dtype=torch.int32)

    def call(x: Any) -> Any:
        return sage.sageattn_varlen(x, x, x, offsets, offsets, 70, 70)

    assert torch.equal(torch.compile(call, fullgraph=True, backend="aot_eager")(q), call(q))


def samples() -> dict[str, tuple[Any, ...]]:
    q, k, v = exact.inputs(batch=2, heads=(4, 2), tokens=(70, 90))
    packed = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
    cu_q, cu_k = (torch.tensor([0, 30, n], device="cuda", dtype=torch.int32) for n in (70, 90))
    mask = torch.rand(70, 90, device="cuda") > 0.5
    return {
        "attention": (q, k, v, mask, 0, True, 0.125, "f16", "per_thread", "fp32", True, False, True),
        "attention_varlen": (*packed, cu_q, cu_k, 40, 60, False, 0.125, "f16", "per_warp", "fp32", True, True),
        "quantize_k": (k, 0, 64, "per_thread", True),
        "quantize_v": (v, 0, 448.0, True),
        "quantize_kv": (k, v, 0, 128, "per_thread", True, 448.0, False),
        "quantize_int8": (q, None, 0, 32, "per_warp"),
        "attention_triton": (q, k, v, mask, 0, True, 0.125, False, True, True),
    }


@pytest.mark.parametrize(
    "name",
    [
        "attention",
        "attention_varlen",
        "quantize_k",
        "quantize_v",
        "quantize_kv",
        "quantize_int8",
        "attention_triton",
    ],
)
def test_opcheck(sage: Any, name: str) -> None:
    assert sage
    torch._dynamo.reset()
    torch.library.opcheck(getattr(torch.ops.sageattention, name).default, samples()[name])


def test_fakes_match_for_every_path_and_no_lse(sage: Any) -> None:
    assert sage
    q, k, v = exact.inputs(batch=2, tokens=(70, 90), head_dim=100, dtype=torch.bfloat16)
    nhd = [x.transpose(1, 2) for x in (q, k, v)]
    for tensors, layout in (((q, k, v), 0), (nhd, 1)):
        for path, accum in (("f16", "fp32"), ("f8_sm90", "fp32+fp32")):
            if path == "f8_sm90" and torch.cuda.get_device_capability() != (9, 0):
                continue
            arguments = (*tensors, None, layout, False, 0.1, path, "per_thread", accum, True, False, False)
            torch.library.opcheck(
                torch.ops.sageattention.attention.default, arguments, test_utils=("test_schema", "test_faketensor")
            )


@pytest.mark.alone
def test_host_time_of_a_call(sage: Any, measured: Callable[[str, float], float]) -> None:
    """Microseconds the host spends in an eager call, beside torch's own attention; small enough never to wait."""
    q, k, v = exact.inputs(heads=(2, 2), tokens=(64, 64), dtype=torch.bfloat16)

    def host(call: Callable[[], Any]) -> float:
        with torch.inference_mode():
            for _ in range(50):
                call()
            rounds = []
            for _ in range(5):
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(100):
                    call()
                rounds.append((time.perf_counter() - start) * 1e4)
        return min(rounds)

    sdpa = measured("host us sdpa", host(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)))
    ours = measured("host us sageattn", host(lambda: sage.sageattn(q, k, v)))
    measured("host us sageattn fp16", host(lambda: sage.sageattn_qk_int8_pv_fp16_cuda(q, k, v)))
    measured("host us sageattn triton", host(lambda: sage.sageattn_qk_int8_pv_fp16_triton(q, k, v)))
    assert ours < max(60.0, 4 * sdpa)
