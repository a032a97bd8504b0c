"""The package's Python without its native library: submodules import, and operators exist by the binding's schemas."""

from __future__ import annotations

import importlib
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def _bare_package() -> None:
    """Make ``sageattention`` importable as a namespace of submodules, without running its ``__init__``."""
    if "sageattention" not in sys.modules:
        package = types.ModuleType("sageattention")
        package.__path__ = [str(ROOT / "sageattention")]
        sys.modules["sageattention"] = package


_bare_package()


def schemas() -> list[str]:
    """The operator schemas that kernels/binding/sageattention.cpp defines."""
    source = (ROOT / "kernels/binding/sageattention.cpp").read_text(encoding="utf-8")
    library = source[source.index("TORCH_LIBRARY(sageattention") :]
    found = re.findall(r"m\.def\(\s*((?:\"[^\"]*\"\s*)+)", library)
    return ["".join(re.findall(r"\"([^\"]*)\"", text)) for text in found]


@pytest.fixture(scope="session")
def record_text() -> str:
    """A record like those in wheels."""
    return (
        '{"format": 1, "distribution": "sageattention", "version": "2.2.0", "build_tag": "280.128", "torch": "2.8.0", '
        '"torch_requirement": "torch==2.8.*", "cuda": "12.8", "python": "3.12", "platform": "linux_x86_64", '
        '"archs": ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_120a"], "min_driver": "525.60.13", '
        '"instances": {"sm_80": ["sage2_a", "sage2_b"]}, "pins": {}, "cxx_standard": 17, "source_digest": "sha256:00"}'
    )


@pytest.fixture(scope="session")
def ops(record_text: str) -> Iterator[Any]:
    """``sageattention._ops`` over operators that have schemas and fakes and no kernels."""
    torch = pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
    from sageattention import _native, _record

    library = torch.library.Library("sageattention", "DEF")
    for schema in schemas():
        library.define(schema)
    patch = pytest.MonkeyPatch()
    patch.setattr(_native, "load", lambda: _record.parse(record_text))
    yield importlib.import_module("sageattention._ops")
    patch.undo()
    del library


@pytest.fixture
def core(ops: Any) -> Any:
    assert ops
    return importlib.import_module("sageattention.core")


@pytest.fixture
def gpu(core: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that every GPU has one compute capability, and that the wheel has certain cubins."""
    import torch

    device = core._device

    def pretend(major: int, minor: int, **changes: Any) -> None:
        fields = {**vars(device.RECORD), **changes}
        monkeypatch.setattr(device, "RECORD", type(device.RECORD)(**fields))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _index=0: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _index=0: f"GPU {major}.{minor}")
        for cached in (device.capability, device._cached_choices, device._cached_fp8):
            cached.cache_clear()

    pretend(9, 0)
    return pretend


@pytest.fixture
def fake_mode(ops: Any) -> Iterator[None]:
    """Tensors made inside have a device, a shape and strides, and no memory."""
    assert ops
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        yield
