"""The import check with a real torch and a small real library: good, and broken where only an import shows it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.make.locks import read_lock
from buildtool.make.runner import Processes
from buildtool.make.store import Store, default_root
from buildtool.make.toolchain import Toolchains, TorchTree
from buildtool.plan.cells import Cell
from buildtool.prove import trial
from buildtool.prove.symbols import SymbolIndex, cached_index
from buildtool.prove.verify import Report, verify_wheel
from tests.unit.prove import synthetic as s
from tests.unit.publish.fake_dist import cells_of

pytestmark = pytest.mark.integration

SOURCE = """
#include <torch/library.h>
#include <ATen/ATen.h>
#ifdef MISSING
namespace at { Tensor a_function_of_another_torch(const Tensor&); }
#endif
at::Tensor attention(const at::Tensor& q) {
  TORCH_CHECK(q.dim() == 4, "q has ", q.dim(), " dimensions");
#ifdef MISSING
  return at::a_function_of_another_torch(q);
#else
  return at::empty_like(q);
#endif
}
void load(const std::string& folder) { TORCH_CHECK(!folder.empty()); }
TORCH_LIBRARY(sageattention, m) {
  m.def("attention(Tensor q) -> Tensor");
  m.def("load(str cubin_folder) -> ()");
  m.impl("load", &load);
}
#ifndef NO_KERNEL
TORCH_LIBRARY_IMPL(sageattention, CUDA, m) { m.impl("attention", &attention); }
#endif
"""
PACKAGE = """import torch
from pathlib import Path
torch.ops.load_library(str(Path(__file__).parent / "_native" / "libsageattention.so"))
torch.ops.sageattention.load("cubins")
attention = torch.ops.sageattention.attention.default
"""


@pytest.fixture(scope="module")
def cell(root: Path) -> Cell:
    (found,) = cells_of(root, "package=sageattention", "torch=2.8", "cuda=12.8", "python=3.12", "platform=linux_x86_64")
    return found


@pytest.fixture(scope="module")
def store() -> Store:
    return Store(default_root())


@pytest.fixture(scope="module")
def torch(cell: Cell, store: Store) -> TorchTree:
    pins = (cell.pins.torch, cell.pins.runtime_headers, cell.pins.crt_headers)
    return Toolchains(store, Processes()).torch(pins, read_lock(cell), cell.combo.python, cell.combo.platform)


@pytest.fixture(scope="module")
def symbols(cell: Cell, torch: TorchTree, store: Store) -> SymbolIndex:
    return cached_index(cell.combo.torch, cell.combo.platform, torch.lib, store.root / "symbols")


@pytest.fixture(scope="module")
def compiled(torch: TorchTree, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    folder = tmp_path_factory.mktemp("binding")
    (folder / "binding.cpp").write_text(SOURCE)

    def compile_binding(macro: str) -> bytes:
        output = folder / f"{macro or 'good'}.so"
        if not output.exists():
            argv = ["g++", "-std=c++17", "-fPIC", "-shared", "-fvisibility=hidden", "-s", "-Wl,-z,noexecstack"]
            argv += [f"-ffile-prefix-map={torch.root}=.", *(f"-I{path}" for path in torch.include_folders)]
            argv += [f"-D{macro}"] if macro else []
            argv += ["binding.cpp", "-o", str(output), f"-L{torch.lib}", "-lc10", "-ltorch_cpu", "-ltorch"]
            subprocess.run(argv, cwd=folder, check=True, timeout=600)
        return output.read_bytes()

    return compile_binding


Check = Callable[[bytes, str], Report]


@pytest.fixture
def check(store: Store, torch: TorchTree, symbols: SymbolIndex, tmp_path: Path) -> Check:
    def verify(library: bytes, package: str) -> Report:
        wheel = s.wheel()
        wheel.raw[s.LIBRARY] = library
        wheel.files["sageattention/__init__.py"] = package.encode()
        path = tmp_path / s.cell().wheel
        path.write_bytes(wheel.build())
        run = trial.EnvironmentTrial(Processes(), store, lambda: torch)
        return verify_wheel(path, s.cell(), s.INSTANCES, "import", symbols=symbols, trial=run)

    return verify


def test_a_good_wheel_imports(check: Check, compiled: Callable[[str], bytes]) -> None:
    report = check(compiled(""), PACKAGE)
    assert report.findings == (), "\n".join(map(str, report.findings))
    assert report.level == "import"
    assert report.resolves["2.8.0"] == ()
    assert report.trial is not None
    assert report.trial.details["registered"] == ["attention", "load"]
    assert "stand-ins" in report.trial.torch


def test_a_symbol_of_another_torch_is_caught_before_the_import(check: Check, compiled: Callable[[str], bytes]) -> None:
    report = check(compiled("MISSING"), PACKAGE)
    assert [(f.code, "a_function_of_another_torch" in f.seen) for f in report.findings] == [("library.undefined", True)]
    assert report.level == "static"


def test_an_operator_without_a_kernel(check: Check, compiled: Callable[[str], bytes]) -> None:
    assert [f.code for f in check(compiled("NO_KERNEL"), PACKAGE).findings] == ["import.operators"]


@pytest.mark.parametrize(
    ("package", "seen"),
    [
        ("import torch\n1 / 0\n", "ZeroDivisionError"),
        ("import os\nos.abort()\n", "-6"),
        ("import os\nos._exit(0)\n", "no message"),
        ("from sageattention import missing\n", "ImportError"),
        ("raise SystemExit(3)\n", "3"),
    ],
)
def test_a_package_that_does_not_import(
    check: Check, compiled: Callable[[str], bytes], package: str, seen: str
) -> None:
    (finding,) = check(compiled(""), package).findings
    assert finding.code == "import.failed"
    assert seen in finding.seen


def test_operators_that_the_library_does_not_have(check: Check, compiled: Callable[[str], bytes]) -> None:
    package = PACKAGE + "def later(q):\n    return torch.ops.sageattention.attention_varlen(q)\n"
    (finding,) = check(compiled(""), package).findings
    assert (finding.code, finding.expected) == ("import.operators", "attention_varlen")


def test_an_import_that_hangs_is_ended(
    check: Check, compiled: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "TIMEOUT", 20.0)
    (finding,) = check(compiled(""), "import time\ntime.sleep(600)\n").findings
    assert finding.code == "import.failed"
    assert "did not end in time" in finding.seen
