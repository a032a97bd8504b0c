"""Client projects' own code over this package: diffusers' dispatch, ComfyUI's attention file, calls as written."""

from __future__ import annotations

import importlib.util
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import exact  # noqa: E402 - needs torch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

BACKENDS = (
    "sage",
    "sage_varlen",
    "_sage_qk_int8_pv_fp8_cuda",
    "_sage_qk_int8_pv_fp8_cuda_sm90",
    "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
)


@pytest.fixture(scope="module")
def dispatch(sage: Any) -> Any:
    assert sage
    pytest.importorskip("diffusers", reason="needs diffusers", exc_type=ImportError)
    from diffusers.models import attention_dispatch

    return attention_dispatch


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("causal", [False, True])
def test_diffusers_dispatch(dispatch: Any, backend: str, causal: bool) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(300, 300), head_dim=128, dtype=torch.bfloat16)
    laid = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
    with dispatch.attention_backend(backend):
        out = dispatch.dispatch_attention_fn(*laid, is_causal=causal, scale=0.1)
    expected, _ = exact.attention(q, k, v, causal=causal, scale=0.1)
    assert exact.error(out.transpose(1, 2), expected) < 0.06


def test_diffusers_varlen_with_a_padding_mask(dispatch: Any) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(64, 100), dtype=torch.bfloat16)
    keep = torch.arange(100, device="cuda")[None] < torch.tensor([[100], [37]], device="cuda")
    laid = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
    with dispatch.attention_backend("sage_varlen"):
        out = dispatch.dispatch_attention_fn(*laid, attn_mask=keep)
    expected, _ = exact.attention(q, k, v, keep[:, None, None])
    assert exact.error(out.transpose(1, 2), expected) < 0.03


@pytest.fixture(scope="module")
def comfy(request: pytest.FixtureRequest, sage: Any) -> Any:
    """ComfyUI's attention module, loaded from its own file over stand-ins for the rest of ComfyUI."""
    assert sage
    path: Path | None = request.config.getoption("--comfyui")
    if path is None:
        pytest.skip("needs --comfyui comfy/ldm/modules/attention.py")

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return StandIn(name)

        def __call__(self, *_: Any, **__: Any) -> Any:
            return False

    for name in (
        "comfy",
        "comfy.model_management",
        "comfy.cli_args",
        "comfy.ops",
        "comfy.ldm",
        "comfy.ldm.modules",
        "comfy.ldm.modules.diffusionmodules",
        "comfy.ldm.modules.diffusionmodules.util",
        "comfy.ldm.modules.sub_quadratic_attention",
        "comfy_kitchen",
    ):
        stand_in = StandIn(name)
        stand_in.__path__ = []
        sys.modules[name] = stand_in
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, stand_in)
    management = sys.modules["comfy.model_management"]
    management.force_upcast_attention_dtype = lambda: None  # type: ignore[attr-defined]
    management.sage_attention_enabled = lambda: True  # type: ignore[attr-defined]
    operations = types.SimpleNamespace(Linear=torch.nn.Linear, LayerNorm=torch.nn.LayerNorm)
    sys.modules["comfy.ops"].disable_weight_init = operations  # type: ignore[attr-defined]
    spec = importlib.util.spec_from_file_location("comfy.ldm.modules.attention", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("skip_reshape", [False, True])
@pytest.mark.parametrize("kind", ["none", "key", "full", "additive"])
@pytest.mark.parametrize("head_dim", [64, 128, 160])
def test_comfyui_attention_sage(
    comfy: Any, caplog: pytest.LogCaptureFixture, skip_reshape: bool, kind: str, head_dim: int
) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(200, 77), head_dim=head_dim)
    mask: Any = {
        "none": None,
        "key": torch.rand(2, 1, 77, device="cuda") > 0.3,
        "full": torch.rand(200, 77, device="cuda") > 0.3,
        "additive": torch.randn(2, 4, 200, 77, device="cuda", dtype=torch.float16),
    }[kind]
    laid = [x if skip_reshape else x.transpose(1, 2).reshape(2, -1, 4 * head_dim) for x in (q, k, v)]
    with caplog.at_level(logging.WARNING):
        out = comfy.attention_sage(*laid, 4, mask=mask, skip_reshape=skip_reshape)
    assert caplog.records == []
    full = mask if mask is None or mask.ndim != 3 else mask[:, None]
    expected, _ = exact.attention(q, k, v, full)
    assert out.shape == (2, 200, 4 * head_dim)
    assert exact.error(out.view(2, 200, 4, head_dim).transpose(1, 2), expected) < 0.06


def test_the_varlen_attention_of_comfyui_nodes(
    sage: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`comfy-sparse-attn`, which ComfyUI's custom nodes for sparse and packed tensors share."""
    assert sage
    for name in ("comfy", "comfy.model_management"):  # it asks ComfyUI for the device where there is one
        monkeypatch.setitem(sys.modules, name, None)
    client = pytest.importorskip("comfy_sparse_attn", reason="pip install comfy-sparse-attn", exc_type=ImportError)
    q, k, v = exact.inputs(heads=(8, 8), tokens=(300, 333), head_dim=128, dtype=torch.bfloat16)
    offsets_q, offsets_k = ((0, 100, 300), (0, 200, 333))
    on_gpu = [torch.tensor(offsets, dtype=torch.int32, device="cuda") for offsets in (offsets_q, offsets_k)]
    packed = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
    with caplog.at_level(logging.WARNING):
        out = client.dispatch_varlen_attention(*packed, *on_gpu, 200, 200)
    assert client.get_varlen_backend() == "sage2"
    assert caplog.records == []
    for part in range(2):
        rows, keys = slice(*offsets_q[part : part + 2]), slice(*offsets_k[part : part + 2])
        expected, _ = exact.attention(q[:, :, rows], k[:, :, keys], v[:, :, keys])
        assert exact.error(out[rows].transpose(0, 1)[None], expected) < 0.03


def test_calls_as_clients_write_them(sage: Any) -> None:
    q, k, v = exact.inputs(batch=2, tokens=(150, 150), dtype=torch.bfloat16)
    expected, expected_lse = exact.attention(q, k, v)
    laid = [x.transpose(1, 2) for x in (q, k, v)]
    calls = [
        sage.sageattn(q, k, v),
        sage.sageattn(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, tensor_layout="HND"),
        sage.sageattn(q, k, v, "HND", is_causal=False),
        sage.sageattn(*laid, is_causal=False, tensor_layout="NHD", sm_scale=None, smooth_k=False).transpose(1, 2),
        sage.sageattn(*laid, tensor_layout="NHD").view(300, -1).view(2, 150, 4, 64).transpose(1, 2),
        sage.sageattn_qk_int8_pv_fp16_cuda(
            q, k, v, is_causal=False, attn_mask=None, tensor_layout="HND", pv_accum_dtype="fp32"
        ),
        sage.sageattn_qk_int8_pv_fp16_cuda(q, k, v, qk_quant_gran="per_warp"),
        sage.sageattn_qk_int8_pv_fp16_triton(q, k, v, is_causal=False, attn_mask=None, tensor_layout="HND"),
    ]
    if torch.cuda.get_device_capability() not in {(8, 0), (8, 6), (10, 0)}:
        calls += [
            sage.sageattn_qk_int8_pv_fp8_cuda(q, k, v, attn_mask=None, pv_accum_dtype=accum)
            for accum in ("fp32+fp32", "fp32+fp16")
        ]
    for index, out in enumerate(calls):
        assert exact.error(out, expected) < 0.06, index
    out, lse = sage.sageattn(q, k, v, is_causal=False, return_lse=True)
    assert float((lse.transpose(1, 2).double() - expected_lse.transpose(1, 2)).abs().max()) < 0.02
    assert exact.error(out, expected) < 0.06


def test_packed_segments_with_padding_as_its_own(sage: Any) -> None:
    """Video models pack [image, padding] a batch entry: 2B + 1 offsets, segments that may have length 0."""
    q, k, v = exact.inputs(tokens=(256, 256), dtype=torch.bfloat16)
    packed = [x[0].transpose(0, 1).contiguous() for x in (q, k, v)]
    offsets = torch.tensor([0, 100, 128, 256, 256], dtype=torch.int32, device="cuda")
    out = sage.sageattn_varlen(*packed, offsets, offsets, 128, 128, dropout_p=0.0, is_causal=False)
    for start, stop in ((0, 100), (100, 128), (128, 256)):
        part = [x[:, :, start:stop] for x in (q, k, v)]
        assert exact.error(out[start:stop].transpose(0, 1)[None], exact.attention(*part)[0]) < 0.03
    assert out.view(2, 128, 4 * 64).shape == (2, 128, 256)


def test_the_published_quantizers(sage: Any) -> None:
    assert sage
    from sageattention import quant, reference

    q, k, v = exact.inputs("k_offset", heads=(4, 2), tokens=(300, 333), head_dim=96)
    mean = k.float().mean(2)
    q8, q_scale, k8, k_scale = quant.per_block_int8(q, k, km=mean[:, :, None], sm_scale=1.0)
    ours = reference.quantize_block(k, 64, mean)
    assert torch.equal(k8, ours.values)
    assert torch.equal(k_scale, ours.scale)
    assert q8.shape == q.shape
    assert q_scale.shape == (1, 4, 3)
    q8, q_scale, k8, k_scale = quant.per_warp_int8(q.transpose(1, 2), k.transpose(1, 2), tensor_layout="NHD")
    assert q8.shape == (1, 300, 4, 96)
    assert q_scale.shape == (1, 4, 12)
    restored = k8.transpose(1, 2).float() * k_scale.repeat_interleave(64, 2)[:, :, :333, None]
    assert float((restored - k.float()).abs().max()) <= 0.51 * float(k_scale.max())
    smooth, mean = quant.sub_mean(v)
    assert float((smooth.float() + mean[:, :, None] - v.float()).abs().max()) < 0.01
    v8, scale, none = quant.per_channel_fp8(v, smooth_v=False)
    assert none is None
    order = torch.tensor(reference.V_ORDER, device="cuda")
    tokens = v8.float().view(1, 2, 128, 24, 16)
    natural = torch.empty_like(tokens)
    natural[..., order] = tokens
    restored = natural.view(1, 2, 128, 384)[:, :, :96, :333] * scale[:, :, :96, None]
    assert exact.error(restored.transpose(2, 3), v.double()) < 0.04
