"""The doctor's report and its program, with the machine, the metadata and the child processes given."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sageattention import __main__ as program
from sageattention import _doctor, _machine, _record
from sageattention._machine import GpuInfo, Machine

Set = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, record_text: str) -> Set:
    """Set what the machine has; by default a fitting one."""

    def set_up(
        torch: str | None = "2.8.0+cu128",
        cuda: str | None = "12.8",
        gpus: tuple[GpuInfo, ...] = (GpuInfo("NVIDIA H200", (9, 0)),),
        record: str | None = record_text,
        torch_error: str = "",
        import_error: str = "",
    ) -> None:
        def run(code: str) -> tuple[str, str]:
            if "import sageattention" in code:
                return ("2.2.0", "") if not import_error else ("", import_error)
            return (
                (json.dumps({"version": torch, "cuda": cuda, "gpus": []}), "") if not torch_error else ("", torch_error)
            )

        monkeypatch.setattr(_doctor, "_run", run)
        monkeypatch.setattr(_doctor, "_installed", {"torch": torch}.get)
        monkeypatch.setattr(_machine, "probe", lambda: Machine("580.1", gpus))
        monkeypatch.setattr(_record, "read", lambda: None if record is None else _record.parse(record))

    set_up()
    return set_up


@pytest.mark.usefixtures("machine")
def test_a_fitting_wheel_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    printed = capsys.readouterr().out
    for part in ("sageattention 2.2.0 (280.128)", "NVIDIA H200 (9.0)", "sm_80 (2 kernels)", "fit:     yes"):
        assert part in printed


def test_another_torch_exits_1_with_the_sentence(machine: Set, capsys: pytest.CaptureFixture[str]) -> None:
    machine(torch="2.9.0+cu128")
    assert program.main(["doctor"]) == 1
    assert "fit:     no: this is sageattention 2.2.0 for torch 2.8" in capsys.readouterr().out


def test_a_torch_that_crashes_is_a_finding_and_not_a_crash(machine: Set, capsys: pytest.CaptureFixture[str]) -> None:
    machine(torch_error="OSError: libcudart.so.12: cannot open shared object file: No such file or directory")
    assert program.main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "torch does not import: OSError" in printed
    assert "cause:   the library or torch was built for another CUDA major" in printed


def test_an_import_that_fails_is_explained(machine: Set, capsys: pytest.CaptureFixture[str]) -> None:
    machine(import_error="ImportError: libc10_cuda.so: cannot open shared object file")
    assert program.main(["--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["answer"]["code"] == "libtorch"
    assert document["problem"] is None


def test_pasted_text_is_answered(machine: Set, capsys: pytest.CaptureFixture[str]) -> None:
    machine()
    assert program.main(["doctor", "version", "`GLIBC_2.32'", "not", "found", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["code"] == "glibc"
    assert program.main(["doctor", "--why", "no kernel image is available", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"]["code"] == "no-kernel"


def test_json_has_every_fact(machine: Set, capsys: pytest.CaptureFixture[str]) -> None:
    machine(torch=None, cuda=None, gpus=(), record=None)
    assert program.main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["wheel"] is None
    assert document["gpus"] == []
    assert document["torch"] is None
    assert "not built" in document["problem"]


@pytest.mark.parametrize(
    ("installed", "cuda"),
    [("2.8.0+cu128", "12.8"), ("2.13.0+cu130", "13.0"), ("2.13.0+cpu", None), ("2.6.0+rocm6.2", None)],
)
def test_a_torch_that_does_not_import_is_known_by_its_version(machine: Set, installed: str, cuda: str | None) -> None:
    machine(torch=installed, torch_error="died")
    assert _doctor.examine().torch_cuda == cuda


def test_a_wrong_command_line_exits_2() -> None:
    with pytest.raises(SystemExit) as stopped:
        program.main(["doktor"])
    assert stopped.value.code == 2
