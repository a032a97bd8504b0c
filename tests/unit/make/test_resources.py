"""`buildtool resources --check`: every kernel in registers, or exit code 4 and the kernels' names."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildtool import cli
from buildtool.commands import building
from buildtool.errors import CompileError
from buildtool.make.cubins import Cubin, Resources, Target
from buildtool.make.nvrtc import Library
from buildtool.plan.instances import Instance


def cubin(folder: Path, name: str, *, stack: int = 0, spilled: int = 0) -> Cubin:
    instance = Instance(name, "f", "f.cu", (), frozenset({"sm_80"}), frozenset({"p"}))
    path = folder / name
    path.write_bytes(b"cubin")
    target = Target(instance, "sm_80", Library(Path(), Path(), "nvrtc==12.8"))
    return Cubin(target, path, Resources(255, stack, spilled, spilled, 0), 1.0, cached=True)


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--check",), CompileError.exit_code)])
def test_local_memory_fails_a_check(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
) -> None:
    made = [cubin(tmp_path, "lean"), cubin(tmp_path, "array", stack=128), cubin(tmp_path, "full", stack=16, spilled=12)]
    monkeypatch.setattr(building, "_compile", lambda *_: made)
    assert cli.main(["resources", *options]) == code
    error = capsys.readouterr().err
    if code:
        assert "2 of 3 kernels" in error
        assert "array on sm_80 (128 bytes, 0 of them spilled), full on sm_80 (16 bytes, 12 of them spilled)" in error
    monkeypatch.setattr(building, "_compile", lambda *_: made[:1])
    assert cli.main(["resources", *options]) == 0
