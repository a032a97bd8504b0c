"""Operator schemas and fakes: shapes, dtypes, devices and strides, on meta tensors."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")


def meta(*shape: int, dtype: Any = None) -> Any:
    return torch.empty(*shape, dtype=dtype or torch.float16, device="meta")


DENSE = (0, False, 0.1, "f16", "per_thread", "fp32", True, False)


@pytest.mark.parametrize("shape", [(2, 4, 5, 64), (1, 1, 1, 1), (0, 4, 5, 64), (2, 4, 0, 64)])
@pytest.mark.parametrize("layout", [0, 1])
def test_attention(ops: Any, shape: tuple[int, ...], layout: int) -> None:
    q = meta(*shape) if layout == 0 else meta(shape[0], shape[2], shape[1], shape[3])
    strided = q.transpose(1, 2).contiguous().transpose(1, 2)
    for x in (q, strided):
        out, lse = ops.attention(x, q, q, None, layout, *DENSE[1:], True)
        assert (out.shape, out.dtype, out.device) == (q.shape, q.dtype, q.device)
        assert out.is_contiguous()
        assert (lse.shape, lse.dtype) == (shape[:3], torch.float32)
        assert ops.attention(x, q, q, None, layout, *DENSE[1:], False)[1].shape == (0,)
        out, lse = ops.attention_triton(x, q, q, None, layout, False, 0.1, False, True, True)
        assert out.is_contiguous()
        assert lse.shape == shape[:3]


def test_attention_varlen(ops: Any) -> None:
    q, k, cu = meta(9, 4, 64), meta(7, 2, 64), meta(3, dtype=torch.int32)
    out, lse = ops.attention_varlen(q, k, k, cu, cu, 5, 5, False, 0.1, "f16", "per_thread", "fp32", True, True)
    assert (out.shape, lse.shape, lse.dtype) == ((9, 4, 64), (4, 9), torch.float32)


@pytest.mark.parametrize(("head_dim", "padded"), [(1, 64), (64, 64), (65, 128), (128, 128), (129, 256), (256, 256)])
@pytest.mark.parametrize(("tokens", "rows"), [(0, 0), (1, 128), (128, 128), (129, 256)])
def test_prepared_operands_are_padded(ops: Any, head_dim: int, padded: int, tokens: int, rows: int) -> None:
    for layout, shape in ((0, (2, 3, tokens, head_dim)), (1, (2, tokens, 3, head_dim))):
        k8, scale, mean = ops.quantize_k(meta(*shape), layout, 64, "per_thread", True)
        assert (k8.shape, k8.dtype) == ((2, 3, rows, padded), torch.int8)
        assert (scale.shape, scale.dtype) == ((2, 3, rows // 64, 4), torch.float32)
        assert mean.shape == (2, 3, padded)
        v8, scale, mean = ops.quantize_v(meta(*shape), layout, 448.0, True)
        assert (v8.shape, v8.dtype) == ((2, 3, padded, rows), torch.float8_e4m3fn)
        assert scale.shape == mean.shape == (2, 3, padded)
        both = ops.quantize_kv(meta(*shape), meta(*shape), layout, 64, "per_thread", True, 448.0, True)
        assert [x.shape for x in both[:3]] == [(2, 3, rows, padded), (2, 3, rows // 64, 4), (2, 3, padded)]
        assert [x.shape for x in both[3:]] == [v8.shape, scale.shape, mean.shape]


def test_quantize_int8_keeps_the_shape(ops: Any) -> None:
    x = meta(2, 100, 3, 40)
    x8, scale = ops.quantize_int8(x, None, 1, 32, "per_warp")
    assert (x8.shape, x8.dtype, scale.shape) == (x.shape, torch.int8, (2, 3, 4))
    assert ops.quantize_int8(x, None, 1, 32, "per_thread")[1].shape == (2, 3, 4, 4)


def test_a_fake_has_its_operators_arguments(ops: Any) -> None:
    for name in ("attention", "attention_varlen", "quantize_k", "quantize_v", "quantize_kv", "quantize_int8"):
        schema = getattr(ops, name)._schema
        fake = inspect.signature(getattr(ops, f"_{name}"))
        assert [argument.name for argument in schema.arguments] == list(fake.parameters), name
        assert not schema.is_mutable


def test_shapes_stay_symbolic(ops: Any) -> None:
    """A length that changes between calls does not trace again."""
    traces = []

    def backend(graph: Any, _inputs: Any) -> Any:
        traces.append(graph)
        return graph.forward

    def call(x: Any) -> Any:
        return ops.attention(x, x, x, None, *DENSE, False)[0]

    compiled = torch.compile(call, backend=backend, fullgraph=True, dynamic=True)
    for tokens in (5, 6, 77):
        assert compiled(meta(2, 4, tokens, 64)).shape == (2, 4, tokens, 64)
    assert len(traces) == 1
