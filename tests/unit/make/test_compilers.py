"""Which compiler a platform gets; Microsoft's is looked for as on Windows, with a fake of what is asked there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from buildtool.errors import ToolchainError
from buildtool.make.compilers import Compiler, compiler_for, microsoft
from buildtool.make.runner import Processes, Result

STUDIO = r"C:\Program Files\Microsoft Visual Studio\2022\Enterprise"
SET = "INCLUDE=C:\\VC\\include\nPath=C:\\VC\\bin;C:\\Windows\nLIB=C:\\VC\\lib\n"


class Windows(Processes):
    """Answers as vswhere.exe, the batch file and cl.exe do."""

    def __init__(self, studio: str = STUDIO, shown: str = SET) -> None:
        super().__init__()
        self.studio, self.shown, self.script = studio, shown, ""

    def run(self, argv: Sequence[str | os.PathLike[str]], **_: Any) -> Result:
        words = tuple(str(word) for word in argv)
        if words[0].endswith("vswhere.exe"):
            return Result(words, 0, f"{self.studio}\n", "", 0.0, 0.0)
        if words[0].endswith(".bat"):
            self.script = Path(words[0]).read_text()
            return Result(words, 0, self.shown, "", 0.0, 0.0)
        return Result(words, 0, "", "Microsoft (R) C/C++ Optimizing Compiler Version 19.44.35211 for x64\n", 0.0, 0.0)


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """cl.exe is in C:\\VC\\bin."""

    def which(name: str, *, path: str = "") -> str | None:
        return f"C:\\VC\\bin\\{name}" if "C:\\VC\\bin" in path or name.startswith("C:") else None

    monkeypatch.setattr(shutil, "which", which)


def test_compilers_by_platform() -> None:
    def program(platform: str, environ: dict[str, str], machine: str) -> str:
        return compiler_for(platform, environ, machine, Processes()).program

    assert program("linux_x86_64", {}, "x86_64") == "g++"
    assert program("manylinux_2_28_x86_64", {"CXX": "clang++"}, "x86_64") == "clang++"
    assert program("linux_aarch64", {}, "x86_64") == "aarch64-linux-gnu-g++"
    assert program("linux_aarch64", {}, "aarch64") == "g++"
    with pytest.raises(ToolchainError, match="win_amd64"):
        program("win_amd64", {}, "x86_64")


@pytest.mark.usefixtures("on_path")
def test_in_a_developer_prompt_its_own_compiler_is_taken() -> None:
    found = microsoft({"PATH": r"C:\VC\bin", "INCLUDE": "x"}, Windows(studio=""))
    assert (found.program, found.env["INCLUDE"]) == (r"C:\VC\bin\cl.exe", "x")
    assert found.identity(Windows()) == "Microsoft (R) C/C++ Optimizing Compiler Version 19.44.35211 for x64"


@pytest.mark.usefixtures("on_path")
def test_elsewhere_it_is_looked_for_with_its_environment() -> None:
    windows = Windows()
    found = microsoft({"PATH": r"C:\Windows"}, windows)
    assert found.program == r"C:\VC\bin\cl.exe"
    assert found.env == {"INCLUDE": r"C:\VC\include", "Path": r"C:\VC\bin;C:\Windows", "LIB": r"C:\VC\lib"}
    assert f'@call "{STUDIO}\\VC\\Auxiliary\\Build\\vcvars64.bat"' in windows.script


@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize("windows", [Windows(studio=""), Windows(shown="Path=C:\\Windows\n")])
def test_a_machine_without_one_is_told_what_to_install(windows: Windows) -> None:
    with pytest.raises(ToolchainError, match="Visual Studio") as caught:
        microsoft({"PATH": r"C:\Windows"}, windows)
    assert "C++ build tools" in caught.value.hint


def test_a_compiler_that_is_not_there() -> None:
    with pytest.raises(ToolchainError, match="no-such-compiler") as caught:
        Compiler("no-such-compiler", {}).identity(Processes())
    assert caught.value.hint == "apt-get install g++"
