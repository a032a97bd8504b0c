"""The Triton kernels run by Triton's interpreter: the same numbers as the reference, without a GPU."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
if "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported
triton = pytest.importorskip("triton", reason="needs Triton, whose interpreter runs the kernels")
if not getattr(triton.knobs.runtime if hasattr(triton, "knobs") else triton.runtime.jit, "interpret", True):
    pytest.skip("triton was imported without its interpreter", allow_module_level=True)

import triton.language as tl  # noqa: E402 - needs the above

from sageattention import _triton, reference  # noqa: E402 - both need the above

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


def rows(heads: int, tokens: int, head_dim: int, seed: int) -> Any:
    x = torch.randn(1, heads, tokens, head_dim, generator=torch.Generator().manual_seed(seed))
    return (x + 3 * torch.arange(head_dim).remainder(3)).half()


def fma(to: Any, x: Any, y: Any, z: Any) -> None:
    tl.store(to, tl.fma(tl.load(x), tl.load(y), tl.load(z)))


def fuses() -> bool:
    """Whether the interpreter's FMA rounds once, as a GPU's does; before Triton 3.9 it rounds the product too."""
    to, x, z = torch.zeros(1), torch.tensor([1 + 2.0**-12]), torch.tensor([-1 - 2.0**-11])
    triton.jit(fma)[(1,)](to, x, x, z)
    return float(to) != 0.0


@pytest.fixture
def rounded_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reference round x / scale to fp32 before INT8 if the interpreter does."""
    if fuses():
        return
    exact = reference._int8

    def product(x: Any, group: Any) -> Any:
        made = exact(x, group)
        amax = x.new_zeros(made.scale.shape, dtype=torch.float32)
        amax = amax.scatter_reduce(2, group.expand(*x.shape[:2], -1), x.abs().amax(3).float(), "amax")
        inverse = reference._scales(amax, 127.0)[1]
        values = (x.float() * inverse[..., group][..., None]).round().clamp(-128, 127).to(torch.int8)
        return reference.Quantized(values, made.scale, group)

    monkeypatch.setattr(reference, "_int8", product)


@pytest.mark.usefixtures("rounded_products")
@pytest.mark.parametrize(
    ("queries", "keys", "head_dim", "causal", "mask", "layout"),
    [
        (100, 70, 64, False, None, 0),
        (65, 130, 40, True, "bool", 0),
        (33, 33, 128, True, "float", 1),
        (70, 90, 200, True, None, 1),
        (1, 1, 1, False, None, 0),
    ],
)
def test_attention(queries: int, keys: int, head_dim: int, causal: bool, mask: str | None, layout: int) -> None:
    q, k, v = rows(4, queries, head_dim, 0), rows(2, keys, head_dim, 1), rows(2, keys, head_dim, 2)
    generator = torch.Generator().manual_seed(3)
    given = None
    if mask == "bool":
        given = torch.rand(1, 1, queries, keys, generator=generator) > 0.3
        given[..., 0, :] = False
    if mask == "float":
        given = torch.randn(4, 1, keys, generator=generator)
    laid_q, laid_k, laid_v = (x if layout == 0 else x.transpose(1, 2).contiguous() for x in (q, k, v))
    out, lse = _triton.attention(laid_q, laid_k, laid_v, given, layout, causal, 0.1, False, True, True)
    out = out if layout == 0 else out.transpose(1, 2)
    expected, expected_lse = reference.attention(q, k, v, given, is_causal=causal, sm_scale=0.1, path="triton")
    assert float((out.float() - expected.float()).abs().max()) < 1e-2
    assert torch.equal(torch.isneginf(lse), torch.isneginf(expected_lse))
    finite = torch.isfinite(expected_lse)
    assert float((lse - expected_lse)[finite].abs().max()) < 1e-3


def test_a_triton_that_cannot_compile_for_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "__version__", "3.3.0")
    _triton.tiles.cache_clear()
    with pytest.raises(RuntimeError, match=r"Triton 3\.3\.0 cannot compile for compute capability 12\.x; 3\.3\.1"):
        _triton.tiles(12)
    assert _triton.tiles(10) == _triton.TILES
    _triton.tiles.cache_clear()


def test_empty_inputs_have_defined_results() -> None:
    q, none = rows(2, 5, 64, 0), rows(2, 0, 64, 1)
    out, lse = _triton.attention(q, none, none, None, 0, False, 0.1, False, True, True)
    assert not out.any()
    assert torch.isneginf(lse).all()
    assert _triton.attention(none, q, q, None, 0, False, 0.1, False, True, False)[0].shape == none.shape
