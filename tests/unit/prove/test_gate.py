"""What decides whether a built wheel may go to the output folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from buildtool.make.store import Store
from buildtool.make.workshop import Verdict
from buildtool.plan.cells import Cell
from buildtool.prove import gate
from buildtool.prove.findings import Finding
from buildtool.prove.package import families
from buildtool.prove.verify import Depth, TrialResult
from tests.unit.prove import synthetic as s
from tests.unit.prove.test_trial import Programs

INSTANCES = """
[tiny]
source = "tiny.cu"
packages = ["sageattention"]
archs = ["sm_80", "sm_90a", "sm_120a"]
axes = [{ macro = "D", values = { d64 = "64" } }]

[tiny_d128]
source = "tiny.cu"
packages = ["sageattention"]
archs = ["sm_80"]
"""

DISPATCH = """
class Path:
    family = "tiny"

PATHS = {"path": Path}
ARCHS = {"sm_80": None, "sm_90a": None}

def paths_of(arch, cuda):
    return {"path": ()}
"""


def refuse() -> NoReturn:
    raise AssertionError("torch was unpacked though its symbols are known")


def judge(folder: Path, level: Depth, wheel: s.Wheel | None = None, *, twin: bool = True) -> Verdict:
    (folder / "kernels").mkdir(exist_ok=True)
    (folder / "kernels/instances.toml").write_text(INSTANCES)
    (folder / "sageattention").mkdir(exist_ok=True)
    (folder / "sageattention/_dispatch.py").write_text(DISPATCH)
    store = Store(folder / "store")
    gate.symbol_cache(store).mkdir(parents=True, exist_ok=True)
    (gate.symbol_cache(store) / "torch-2.8.0-linux_x86_64-0.sym").write_bytes(s.symbols().encode())
    path = folder / s.cell().wheel
    path.write_bytes((wheel or s.wheel()).build())
    return gate.gate_of(folder, store, level)(path, s.cell(pypi_twin=twin), refuse, Programs({}))


def test_a_good_wheel_passes(tmp_path: Path) -> None:
    verdict = judge(tmp_path, "static")
    assert verdict.problems == ()
    assert verdict.ok
    assert verdict.undone == ""
    assert verdict.report["resolves"] == {"2.8.0": []}


def test_a_bad_wheel_does_not(tmp_path: Path) -> None:
    wheel = s.wheel()
    del wheel.archives["sm_90a"]
    verdict = judge(tmp_path, "import", wheel)
    assert not verdict.ok
    assert "cubin.archive-missing" in "".join(verdict.problems)


@pytest.mark.parametrize(("code", "ok"), [("import.skipped", True), ("import.failed", False)])
def test_a_check_that_was_not_possible_is_no_fault_of_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, code: str, ok: bool
) -> None:
    class Trial:
        def __init__(self, *_: object) -> None: ...

        def __call__(self, wheel: Path, cell: Cell, *, gpu: bool) -> TrialResult:
            assert wheel.exists()
            assert not gpu
            return TrialResult((Finding(code, cell.combo.package, "a", "b"),), "3.12", "none")

    monkeypatch.setattr(gate, "EnvironmentTrial", Trial)
    verdict = judge(tmp_path, "import")
    assert verdict.ok is ok
    assert bool(verdict.undone) is ok
    assert bool(verdict.problems) is not ok


def test_a_kernel_that_dispatch_would_miss_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.DISPATCH", DISPATCH.replace('"tiny"', '"huge"'))
    verdict = judge(tmp_path, "static")
    assert not verdict.ok
    assert "cubin.dispatch" in "".join(verdict.problems)


def test_the_dispatch_table_is_read_by_many_threads_at_once(root: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: families(root, "12.8"), range(200)))
    assert found == [found[0]] * 200


def test_the_symbols_of_a_torch_with_another_abi_are_not_compared(tmp_path: Path) -> None:
    verdict = judge(tmp_path, "static", twin=False)
    assert verdict.ok
    assert [row["code"] for row in verdict.report["findings"]] == ["library.unchecked"]
