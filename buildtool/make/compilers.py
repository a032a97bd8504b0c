"""The C++ compiler of a platform: g++, a cross g++ for another machine, or Microsoft's with its environment."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make.runner import Runner, base_environment

_CROSS = {"aarch64": "aarch64-linux-gnu-g++"}
_MSVC = "cl.exe"
_NO_MSVC = "install the C++ build tools of Visual Studio, or run in its Developer PowerShell"


@dataclass(frozen=True)
class Compiler:
    """A program, and the environment that it needs."""

    program: str
    env: Mapping[str, str]

    def identity(self, runner: Runner) -> str:
        """What the compiler says it is. Raises ToolchainError if there is none."""
        if shutil.which(self.program) is None:
            cross = self.program.startswith("aarch64")
            remedy = "apt-get install " + ("g++-aarch64-linux-gnu" if cross else "g++")
            raise ToolchainError(f"the C++ compiler {self.program} is not installed", remedy)
        # cl.exe introduces itself when asked for nothing.
        question = [] if self.program.endswith(_MSVC) else ["-v"]
        said = runner.run([self.program, *question], env=self.env, timeout=60).stderr
        found = re.search(r"^.*\bVersion .*$", said, re.MULTILINE | re.IGNORECASE)
        return f"{found[0] if found else said}"


def compiler_for(platform: str, environ: Mapping[str, str], machine: str, runner: Runner) -> Compiler:
    """The compiler of a platform on this machine; ``$CXX`` decides if set. Raises ToolchainError."""
    if platform.startswith("win") and sys.platform == "win32":
        return microsoft(environ, runner)
    target = platform.removeprefix("manylinux_2_28_").removeprefix("linux_")
    if target == machine:
        return Compiler(environ.get("CXX") or "g++", base_environment())
    if target in _CROSS:
        return Compiler(environ.get(f"CXX_{target.upper()}") or _CROSS[target], base_environment())
    raise ToolchainError(
        f"{platform} wheels cannot be built on this machine ({sys.platform} {machine})",
        "run the build there, or choose platform=linux_x86_64",
    )


def microsoft(environ: Mapping[str, str], runner: Runner) -> Compiler:
    """The cl.exe on PATH, as in a developer prompt, else that of the newest Visual Studio with its environment."""
    env = base_environment(environ)
    if found := shutil.which(_MSVC, path=environ.get("PATH", "")):
        return Compiler(found, env)
    programs = Path(environ.get("ProgramFiles(x86)", r"C:\Program Files (x86)"))
    argv: list[str | Path] = [programs / "Microsoft Visual Studio" / "Installer" / "vswhere.exe", "-latest"]
    argv += ["-products", "*", "-requires", "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"]
    try:
        studio = runner.run([*argv, "-property", "installationPath"], env=env, timeout=60).stdout.strip()
    except ToolchainError as error:
        raise ToolchainError("no Visual Studio is installed", _NO_MSVC) from error
    if not studio:
        raise ToolchainError("no Visual Studio with C++ build tools is installed", _NO_MSVC)
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "environment.bat")
        script.write_text(f'@call "{studio}\\VC\\Auxiliary\\Build\\vcvars64.bat" >nul\n@set\n', "utf-8")
        shown = runner.run([script], env=env, timeout=120).stdout
    its = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line[1:])
    path = next((value for name, value in its.items() if name.upper() == "PATH"), "")
    if (program := shutil.which(_MSVC, path=path)) is None:
        raise ToolchainError(f"the Visual Studio in {studio} has no {_MSVC}", _NO_MSVC)
    return Compiler(program, its)
