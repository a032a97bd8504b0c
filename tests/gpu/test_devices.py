"""Several GPUs in one process: everything runs where its tensors are, and the current device stays what it was."""

from __future__ import annotations

import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import exact  # noqa: E402 - needs torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(torch.cuda.is_available() and torch.cuda.device_count() < 2, reason="needs two GPUs"),
]

ENTRIES = (
    "sageattn",
    "sageattn_qk_int8_pv_fp16_cuda",
    "sageattn_qk_int8_pv_fp16_triton",
    "sageattn_qk_int8_pv_fp8_cuda",
    "sageattn_qk_int8_pv_fp8_cuda_sm90",
)


def last() -> Any:
    return torch.device("cuda", torch.cuda.device_count() - 1)


@pytest.mark.parametrize("name", ENTRIES)
def test_tensors_on_another_gpu(sage: Any, name: str) -> None:
    if name.endswith("sm90") and torch.cuda.get_device_capability(last()) != (9, 0):
        pytest.skip("needs compute capability 9.0")
    function, inputs = getattr(sage, name), exact.inputs(tokens=(300, 333), head_dim=72)
    expected = function(*inputs, return_lse=True)
    there = [x.to(last()) for x in inputs]
    stream = torch.cuda.Stream(last())
    with torch.cuda.device(0):
        plain = function(*there, return_lse=True)
        stream.wait_stream(torch.cuda.current_stream(last()))
        with torch.cuda.stream(stream):
            aside = function(*there, return_lse=True)
        assert torch.cuda.current_device() == 0
    stream.synchronize()
    torch.cuda.synchronize(last())
    for results in (plain, aside):
        for got, want in zip(results, expected, strict=True):
            assert got.device == last()
            assert torch.equal(got.to(want.device), want)


def test_packed_sequences_on_another_gpu(sage: Any) -> None:
    q = torch.randn(100, 4, 64, device="cuda", dtype=torch.float16)
    offsets = torch.tensor([0, 30, 100], device="cuda", dtype=torch.int32)
    there = [x.to(last()) for x in (q, offsets)]
    expected = sage.sageattn_varlen(q, q, q, offsets, offsets, 70, 70)
    out = sage.sageattn_varlen(there[0], there[0], there[0], there[1], there[1], 70, 70)
    assert torch.cuda.current_device() == 0
    assert torch.equal(out.to("cuda:0"), expected)


def test_tensors_on_two_gpus_are_refused(sage: Any) -> None:
    q, k, v = exact.inputs()
    for wrong in ((q.to(last()), k, v), (q, k.to(last()), v.to(last())), (q, k, v.to(last()))):
        with pytest.raises((TypeError, ValueError), match="device"):
            sage.sageattn(*wrong)
    mask = torch.ones(512, 512, dtype=torch.bool, device=last())
    with pytest.raises((TypeError, ValueError), match="device"):
        sage.sageattn(q, k, v, attn_mask=mask)


def test_one_thread_for_each_gpu(sage: Any) -> None:
    """Threads that have not used CUDA before, all at once."""
    inputs = exact.inputs(batch=2, tokens=(500, 500), head_dim=128)
    expected = sage.sageattn(*inputs).cpu()
    results: dict[int, Any] = {}

    def work(index: int) -> None:
        with torch.cuda.device(index):
            there = [x.to(f"cuda:{index}") for x in inputs]
            for _ in range(20):
                results[index] = sage.sageattn(*there)
            torch.cuda.synchronize(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(torch.cuda.device_count())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(torch.cuda.device_count()))
    assert all(torch.equal(result.cpu(), expected) for result in results.values())
