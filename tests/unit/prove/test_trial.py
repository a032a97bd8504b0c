"""What the import check concludes from what the probe prints, and how it prepares the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import pytest

from buildtool.errors import ToolchainError, VerificationError
from buildtool.make import standins
from buildtool.make.runner import Result
from buildtool.make.store import Store
from buildtool.make.toolchain import TorchTree
from buildtool.prove import emulate, probe, trial
from buildtool.prove.findings import Finding
from buildtool.prove.rebuild import compare
from buildtool.prove.verify import TrialResult, verify_wheel
from tests.unit.prove import synthetic as s


def good(**changes: Any) -> dict[str, Any]:
    return {
        "file": "/env/lib/python3.12/site-packages/sageattention",
        "prefix": "/env",
        "python": "3.12.1",
        "torch": "2.8.0+cu128",
        "torch_cuda": "12.8",
        "version": "2.2.0",
        "record": s.wheel().stamp,
        "registered": ["attention", "load"],
        "expected": ["attention", "load"],
        "without_cuda": [],
        **changes,
    }


def codes(report: Mapping[str, Any], *, gpu: bool = False) -> list[str]:
    return [finding.code for finding in trial.judge(report, s.cell(), gpu=gpu)]


def test_a_good_import() -> None:
    assert codes(good()) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"error": "OSError: undefined symbol"}, "import.failed"),
        ({"file": "/checkout/sageattention"}, "import.place"),
        ({"torch": "2.9.0"}, "import.torch"),
        ({"registered": ["load"]}, "import.operators"),
        ({"registered": [], "expected": []}, "import.operators"),
        ({"without_cuda": ["attention"]}, "import.operators"),
        ({"record": {}}, "import.record"),
        ({"version": "2.1.0"}, "import.record"),
    ],
)
def test_a_bad_import(changes: dict[str, Any], code: str) -> None:
    assert codes(good(**changes)) == [code]


def test_numerics() -> None:
    case = {"shape": [1, 4, 1023, 64], "causal": False, "dtype": "torch.float16", "error": 0.004}
    device = {"device": "a GPU", "bound": 0.03, "cases": [case]}
    assert codes(good(gpu=device), gpu=True) == []
    for error in (0.2, float("nan")):
        assert codes(good(gpu={**device, "cases": [{**case, "error": error}]}), gpu=True) == ["gpu.numerics"]
    assert codes(good(gpu={"device": "", "cases": []}), gpu=True) == ["gpu.skipped"]


def result(returncode: int, stdout: str, stderr: str = "") -> Result:
    return Result(("python",), returncode, stdout, stderr, 0.0, 0.0)


def test_the_probes_output() -> None:
    assert trial.read_probe(result(0, 'a warning\n{"file": "x"}\n')) == {"file": "x"}
    assert "error" in trial.read_probe(result(0, "nothing of the kind"))
    died = trial.read_probe(result(-11, "", "Fatal Python error: Segmentation fault"))
    assert "-11" in died["error"]
    assert "Segmentation fault" in died["error"]


def test_operators_are_read_from_the_library_and_the_package(tmp_path: Path) -> None:
    library = b"\0attention(Tensor q, Tensor? mask) -> (Tensor out, Tensor lse)\0load(str cubin_folder) -> ()\0x(int)\0"
    assert probe.operators_in(library) == {"attention", "load"}
    (tmp_path / "_ops.py").write_text("attention = torch.ops.sageattention.attention.default\n")
    (tmp_path / "other.py").write_text("torch.ops.other.thing\n")
    assert probe.operators_called(tmp_path, "sageattention") == {"attention"}


class Programs:
    """A runner that answers every program as told, and remembers what was asked."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report, self.calls, self.envs = report, [""], [{}]

    report: dict[str, Any]
    calls: list[str]
    envs: list[Mapping[str, str]]

    def run(
        self,
        argv: Sequence[Any],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 0,
    ) -> Result:
        assert timeout >= 0
        line = " ".join(map(str, argv))
        self.calls.append(line)
        self.envs.append(dict(env or {}))
        if "get_path" in line:
            return result(0, str(self.site))
        if "probe.py" in line:
            assert cwd is not None
            assert "elsewhere" in str(cwd)
            return result(0, json.dumps(self.report))
        return result(0, "")

    def start(self, argv: Sequence[Any], **_: Any) -> subprocess.Popen[str]:
        raise AssertionError(argv)

    def terminate(self) -> None: ...

    site: Path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(trial, "find_uv", lambda: Path("uv"))
    monkeypatch.setattr(trial, "find_python", lambda *_, **__: Path("python3.12"))
    monkeypatch.setattr(trial, "_foreign", lambda _: None)
    made = Programs(good())
    made.site = tmp_path
    return made


def tree(tmp_path: Path) -> TorchTree:
    (tmp_path / "tree/torch/lib").mkdir(parents=True)
    (tmp_path / "tree/torch/lib/libc10.so").write_bytes(s.LibrarySpec().build())
    return TorchTree(tmp_path / "tree", ())


def written(tmp_path: Path) -> Path:
    wheel = s.wheel()
    path = tmp_path / "staged.whl"
    path.write_bytes(wheel.build())
    return path


def test_the_environment_has_the_wheel_and_the_torch_and_nothing_else(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = tree(tmp_path)
    monkeypatch.setattr(standins, "build", lambda *_: ())
    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), lambda: torch)
    report = verify_wheel(
        written(tmp_path), s.cell(), s.INSTANCES, "import", symbols=s.symbols(), trial=check, filename=s.cell().wheel
    )
    assert report.findings == ()
    assert report.level == "import"
    assert report.trial is not None
    assert report.trial.torch == "torch==2.8.0: real; NVIDIA libraries: stand-ins"
    install = next(call for call in programs.calls if "pip install" in call)
    assert "--no-deps --no-index" in install
    assert install.endswith(s.cell().wheel)
    assert (tmp_path / "torch-of-the-cell.pth").read_text().strip() == str(torch.root)
    assert "LD_LIBRARY_PATH" in programs.envs[-1]
    assert "-I" in programs.calls[-1]


def test_full_torch_is_installed_from_where_it_is_served(tmp_path: Path, programs: Programs) -> None:
    def refuse() -> NoReturn:
        raise AssertionError("asked for the torch without dependencies")

    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), refuse, full_torch=True)
    outcome = check(written(tmp_path), replace(s.cell(), torch_index="cu129"), gpu=False)
    assert outcome.torch == "torch==2.8.0: real; NVIDIA libraries: real"
    assert any("torch==2.8.0" in call and call.count("/cu129") == 1 for call in programs.calls)


def test_a_given_interpreter_needs_no_network(tmp_path: Path, programs: Programs) -> None:
    def refuse() -> NoReturn:
        raise AssertionError("asked for another torch")

    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), refuse, interpreter=Path("/opt/python3"))
    programs.report = good(gpu={"device": "a GPU", "bound": 0.03, "cases": []})
    outcome = check(written(tmp_path), s.cell(), gpu=True)
    assert outcome.findings == ()
    assert outcome.torch == "torch 2.8.0+cu128: real; NVIDIA libraries: real"
    assert not any("uv" in call.split()[:1] for call in programs.calls)
    assert programs.calls[1].startswith("/opt/python3 -m venv")
    assert programs.calls[-1].endswith("sageattention --gpu")


@pytest.mark.parametrize(
    ("python", "torch", "fits"),
    [("3.12", "2.8.0+cu128", True), ("3.12", "2.8.1", False), ("3.11", "2.8.0", False), ("3.12", None, False)],
)
def test_the_interpreter_that_runs_this_is_taken_if_it_is_the_cells(
    monkeypatch: pytest.MonkeyPatch, *, python: str, torch: str | None, fits: bool
) -> None:
    def version(_: str) -> str:
        if torch is None:
            raise metadata.PackageNotFoundError
        return torch

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(trial, "running", lambda: python)
    assert trial.own_interpreter(s.cell()) == (Path(sys.executable) if fits else None)


def test_the_libraries_of_an_interpreters_torch(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "run", lambda *_, **__: result(0, "/site/torch\n"))
    assert trial.library_folder(Path("python3"), programs) == Path("/site/torch/lib")
    monkeypatch.setattr(programs, "run", lambda *_, **__: result(1, "", "AttributeError"))
    with pytest.raises(ToolchainError, match="no torch"):
        trial.library_folder(Path("python3"), programs)


def test_no_interpreter_is_reported_as_not_done(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "find_python", lambda *_, **__: None)
    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), lambda: tree(tmp_path))
    outcome = check(written(tmp_path), s.cell(), gpu=False)
    assert [finding.code for finding in outcome.findings] == ["import.skipped"]


def test_a_torch_that_pypi_does_not_have_is_a_note(tmp_path: Path, programs: Programs) -> None:
    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), lambda: tree(tmp_path))
    outcome = check(written(tmp_path), replace(s.cell(), pypi_twin=False), gpu=False)
    assert [(finding.code, finding.level) for finding in outcome.findings] == [("import.no-torch", "note")]
    assert (outcome.done, len(programs.calls)) == (False, 1)
    full = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), lambda: tree(tmp_path), full_torch=True)
    assert full(written(tmp_path), replace(s.cell(), pypi_twin=False), gpu=False).done


def test_a_foreign_platform_is_a_note(tmp_path: Path) -> None:
    check = trial.EnvironmentTrial(Programs({}), Store(tmp_path / "store"), lambda: tree(tmp_path))
    cell = replace(s.cell(), combo=replace(s.cell().combo, platform="win_amd64"))
    outcome = check(written(tmp_path), cell, gpu=False)
    assert [(finding.code, finding.level) for finding in outcome.findings] == [("import.foreign", "note")]
    report = verify_wheel(
        written(tmp_path), s.cell(), s.INSTANCES, "import", symbols=s.symbols(), trial=lambda *_, **__: outcome,
        filename=s.cell().wheel,
    )  # fmt: skip
    assert (report.ok, report.level) == (True, "static")


def emulated(tmp_path: Path) -> Path:
    """A root folder whose Python and an emulator that print how they were called."""
    python = tmp_path / "root/usr/bin/python3.12"
    python.parent.mkdir(parents=True)
    python.touch()
    qemu = tmp_path / "bin/qemu-aarch64-static"
    qemu.parent.mkdir()
    qemu.write_text("#!/bin/sh\nexit 1\n")
    qemu.chmod(0o755)
    return qemu


def test_why_nothing_is_emulated(tmp_path: Path) -> None:
    qemu = emulated(tmp_path)
    environ = {emulate.ROOT: str(tmp_path / "root"), "PATH": str(qemu.parent)}
    found = emulate.find("aarch64", "3.12", environ)
    assert isinstance(found, emulate.Emulator)
    assert found.qemu == qemu
    assert "another kind" in str(emulate.find("riscv64", "3.12", environ))
    assert "is not set" in str(emulate.find("aarch64", "3.12", {}))
    assert "python3.13" in str(emulate.find("aarch64", "3.13", environ))
    assert "qemu" in str(emulate.find("aarch64", "3.12", {**environ, "PATH": ""}))


def test_a_wheel_of_another_machine_is_imported_by_its_emulator(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu, machines = emulated(tmp_path), []
    monkeypatch.setattr(trial, "_foreign", lambda _: ("Linux", "aarch64"))
    monkeypatch.setattr(standins, "build", lambda *arguments: machines.append(arguments[-1]))
    monkeypatch.setenv(emulate.ROOT, str(tmp_path / "root"))
    monkeypatch.setenv("PATH", str(qemu.parent))
    check = trial.EnvironmentTrial(programs, Store(tmp_path / "store"), lambda: tree(tmp_path))
    cell = replace(s.cell(), combo=replace(s.cell().combo, platform="linux_aarch64"))
    outcome = check(written(tmp_path), cell, gpu=False)
    assert (outcome.findings, outcome.done, machines) == ((), True, ["aarch64"])
    assert outcome.torch.endswith("stand-ins; emulated by qemu-aarch64-static")
    assert not any("uv" in call.split()[:1] for call in programs.calls)


def test_the_emulated_interpreter_is_a_virtual_environment(tmp_path: Path) -> None:
    qemu = emulated(tmp_path)
    qemu.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    emulator = emulate.Emulator(qemu, tmp_path / "root", tmp_path / "root/usr/bin/python3.12")
    program = emulate.environment(emulator, written(tmp_path), tmp_path / "env")
    script = program.read_text()
    assert f"-L '{tmp_path}/env/sysroot' '{tmp_path}/env/bin/python3.12' \"$@\"" in script
    assert os.access(program, os.X_OK)
    assert (tmp_path / "env/sysroot/usr/bin/python3.12").is_file()
    assert "0x41" in (tmp_path / "env/sysroot/proc/cpuinfo").read_text()
    assert (tmp_path / "env/bin/python3.12").resolve() == emulator.python
    assert f"home = {emulator.python.parent}" in (tmp_path / "env/pyvenv.cfg").read_text()
    assert (tmp_path / "env/lib/python3.12/site-packages/sageattention/__init__.py").is_file()


def test_a_wheel_with_errors_is_not_imported(tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> TrialResult:
        raise AssertionError("imported a broken wheel")

    path = tmp_path / s.cell().wheel
    path.write_bytes(b"PK")
    report = verify_wheel(path, s.cell(), s.INSTANCES, "import", symbols=s.symbols(), trial=refuse)
    assert [finding.code for finding in report.findings] == ["zip.unreadable"]
    assert report.level == "static"


def test_what_cannot_be_checked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="cannot read"):
        verify_wheel(tmp_path / "gone.whl", s.cell(), None)
    with pytest.raises(VerificationError, match="environment"):
        verify_wheel(written(tmp_path), s.cell(), None, "import")


def test_two_builds_are_compared_down_to_the_kernel() -> None:
    first = s.wheel().build()
    assert list(compare("w", first, first)) == []
    other = s.wheel()
    other.archives["sm_80"][1] = ("tiny_d64.cubin", s.cubin("tiny_d64", "sm_86"))
    found: list[Finding] = list(compare("w", first, other.build()))
    assert {finding.code for finding in found} == {"rebuild.differs"}
    assert ("sageattention/_native/cubins/sm_80.ar", "tiny_d64.cubin") in {(f.where, f.seen) for f in found}
    reordered = s.wheel()
    reordered.order = lambda names: names[::-1]
    assert "order" in next(iter(compare("w", first, reordered.build()))).seen
    lacking = s.wheel()
    lacking.dropped.add("sageattention/__init__.py")
    assert "only one build has it" in {f.seen for f in compare("w", first, lacking.build())}
