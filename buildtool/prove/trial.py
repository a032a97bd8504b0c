"""The import check: a fresh environment, the exact torch and Python, and the package as a user would import it.

torch is the real wheel of the cell. Its NVIDIA libraries (about 3 GB) are by default stand-ins that satisfy the loader
and compute nothing, since importing and registering operators calls none of them; ``full_torch`` installs everything
instead, and so does the GPU level. The report says which it was.
"""

from __future__ import annotations

import functools
import json
import os
import platform as host
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import Version

from buildtool.errors import ToolchainError
from buildtool.make import standins
from buildtool.make.compilers import compiler_for
from buildtool.make.interpreters import find_python, find_uv, running
from buildtool.make.runner import Result, Runner, TimedOutError, base_environment
from buildtool.make.store import Store, digest
from buildtool.make.toolchain import TorchTree
from buildtool.plan.cells import PYTORCH_INDEX, Cell
from buildtool.prove import emulate, probe
from buildtool.prove.findings import Finding
from buildtool.prove.symbols import folder_key
from buildtool.prove.verify import TrialResult

TIMEOUT = 300.0
_PACKAGES = "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\\n')"
"""Prints where an interpreter has its packages. `--system-site-packages` would skip those of a virtual environment."""
# The bytes passed the static level: no member leaves the folder, none is a link.
_UNPACK = (
    "import pathlib, sys, sysconfig, zipfile; site = sysconfig.get_path('platlib'); "
    "zipfile.ZipFile(sys.argv[1]).extractall(site); pathlib.Path(site, 'packages-of-the-interpreter.pth').write_text("
    "''.join(f'import site; site.addsitedir({folder!r})\\n' for folder in sys.argv[2:]), 'utf-8')"
)


@dataclass(frozen=True)
class EnvironmentTrial:
    """Installs a wheel into a new environment and imports it there; see :class:`buildtool.prove.verify.Trial`.

    ``torch`` provides the cell's torch without its NVIDIA dependencies; it is not asked for with ``full_torch``.
    """

    runner: Runner
    store: Store
    torch: Callable[[], TorchTree]
    full_torch: bool = False
    interpreter: Path | None = None
    """A Python whose own torch is used, whatever it is made of: for machines without a network, such as GPU servers."""

    def __call__(self, wheel: Path, cell: Cell, *, gpu: bool) -> TrialResult:
        """Raises ToolchainError if uv, the compiler of the stand-ins, or torch cannot be had."""
        if kind := _foreign(cell.combo.platform):
            return self._emulated(kind, wheel, cell)
        if self.interpreter is not None:
            return self._on_interpreter(self.interpreter, wheel, cell, gpu=gpu)
        uv = find_uv()
        python = find_python(cell.combo.python, self.runner, uv=uv)
        if python is None:
            skipped = Finding("import.skipped", cell.combo.package, f"CPython {cell.combo.python}", "none here")
            return TrialResult((skipped,), cell.combo.python, "none", done=False)
        full = self.full_torch or gpu
        if not full and not cell.pypi_twin:
            wanted = f"torch {cell.combo.torch} for CUDA {cell.combo.cuda}"
            none = Finding("import.no-torch", cell.combo.package, wanted, "PyPI's build of it has another ABI")
            return TrialResult((none,), cell.combo.python, "none", done=False)
        with tempfile.TemporaryDirectory(prefix="buildtool-trial-") as scratch:
            folder = Path(scratch)
            environment = self._environment(folder, wheel, cell, uv, python)
            if full:
                how, libraries = self._install_torch(environment, cell, uv), None
            else:
                how, libraries = self._link_torch(environment, cell, host.machine())
            return self._run(folder, environment, libraries, cell, gpu=gpu, how=how)

    def _emulated(self, kind: tuple[str, str], wheel: Path, cell: Cell) -> TrialResult:
        """The import on an emulated machine if there is one, else a note that says why not."""
        emulator: emulate.Emulator | str = "a machine of another kind"
        if kind[0] == "Linux" and sys.platform == "linux":
            emulator = emulate.find(kind[1], cell.combo.python, os.environ)
        if isinstance(emulator, str):
            foreign = Finding("import.foreign", cell.combo.package, f"an import on {' '.join(kind)}", emulator)
            return TrialResult((foreign,), cell.combo.python, "none", done=False)
        with tempfile.TemporaryDirectory(prefix="buildtool-trial-") as scratch:
            folder = Path(scratch)
            program = emulate.environment(emulator, wheel, folder / "env")
            how, libraries = self._link_torch(program, cell, kind[1])
            how = f"{how}; emulated by {emulator.qemu.name}"
            return self._run(folder, program, libraries, cell, gpu=False, how=how, slower=emulate.SLOWER)

    def _on_interpreter(self, interpreter: Path, wheel: Path, cell: Cell, *, gpu: bool) -> TrialResult:
        """A new environment on top of that interpreter's packages; needs neither uv nor a network."""
        with tempfile.TemporaryDirectory(prefix="buildtool-trial-") as scratch:
            folder = Path(scratch)
            self._must([interpreter, "-m", "venv", "--without-pip", folder / "env"])
            program = folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            packages = self._must([interpreter, "-c", _PACKAGES]).stdout.splitlines()
            self._must([program, "-I", "-c", _UNPACK, wheel, *packages])
            return self._run(folder, program, None, cell, gpu=gpu, how="torch {}: real; NVIDIA libraries: real")

    def _environment(self, folder: Path, wheel: Path, cell: Cell, uv: Path, python: Path) -> Path:
        """A new virtual environment with the wheel in it and nothing else; returns its interpreter."""
        environment = folder / "env"
        self._must([uv, "venv", "--quiet", "--no-project", "--python", python, environment])
        program = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        named = folder / cell.wheel
        shutil.copyfile(wheel, named)
        offline: list[str | Path] = ["--no-deps", "--no-index", "--no-cache", "--link-mode", "copy"]
        self._must([uv, "pip", "install", "--quiet", "--python", program, *offline, named])
        return program

    def _link_torch(self, program: Path, cell: Cell, machine: str) -> tuple[str, tuple[Path, ...]]:
        """Put the unpacked torch on the environment's path; returns how real it is and its library folders."""
        tree = self.torch()
        site = self.runner.run(
            [program, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], timeout=TIMEOUT
        )
        (Path(site.stdout.strip()) / "torch-of-the-cell.pth").write_text(f"{tree.root}\n", "utf-8")
        if os.name == "nt":  # where torch's wheel has them in it
            return f"{cell.pins.torch}: real; NVIDIA libraries: real", ()
        present = sorted({path.name for folder in tree.cuda_libraries for path in folder.glob("*.so*")})
        key = digest({"torch": folder_key(tree.lib), "present": present, "machine": machine, "format": 1})

        compiler = compiler_for(cell.combo.platform, os.environ, host.machine(), self.runner)
        link = functools.partial(self._link, compiler.program)

        def fill(folder: Path) -> None:
            standins.build(tree.lib, present, folder, link, machine)

        folder, _ = self.store.fetch("standins", key, fill)
        return f"{cell.pins.torch}: real; NVIDIA libraries: stand-ins", (folder, *tree.cuda_libraries)

    def _install_torch(self, program: Path, cell: Cell, uv: Path) -> str:
        """Install torch with everything it depends on, from where the cell's build of it is served."""
        argv: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", program, cell.pins.torch, "numpy"]
        if cell.torch_index != "pypi":
            argv += ["--index", f"{PYTORCH_INDEX}/{cell.torch_index}", "--index-strategy", "unsafe-best-match"]
        self._must(argv, timeout=3600)
        return f"{cell.pins.torch}: real; NVIDIA libraries: real"

    def _link(self, compiler: str, source: Path, version_script: Path | None, soname: str, output: Path) -> None:
        script = [f"-Wl,--version-script={version_script}"] if version_script else []
        self._must([compiler, "-shared", "-nostdlib", f"-Wl,-soname,{soname}", *script, "-o", output, source])

    def _run(
        self,
        folder: Path,
        program: Path,
        libraries: tuple[Path, ...] | None,
        cell: Cell,
        *,
        gpu: bool,
        how: str,
        slower: float = 1,
    ) -> TrialResult:
        timeout = TIMEOUT * slower
        env = base_environment()
        if libraries:
            env["LD_LIBRARY_PATH"] = os.pathsep.join(map(str, libraries))
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        script = shutil.copyfile(probe.__file__, elsewhere / "probe.py")
        argv = [str(program), "-I", str(script), cell.combo.package, *(["--gpu"] if gpu else [])]
        try:
            result = self.runner.run(argv, cwd=elsewhere, env=env, timeout=timeout)
        except TimedOutError as error:
            failed = Finding("import.failed", cell.combo.package, f"an import within {timeout:.0f} s", error.message)
            return TrialResult((failed,), cell.combo.python, how)
        report = read_probe(result)
        return TrialResult(
            findings=tuple(judge(report, cell, gpu=gpu)),
            python=str(report.get("python", cell.combo.python)),
            torch=how.format(report.get("torch", "")),
            details={key: report[key] for key in ("registered", "torch_cuda", "gpu") if key in report},
        )

    def _must(self, argv: list[str | Path], timeout: float = TIMEOUT) -> Result:
        result = self.runner.run(argv, timeout=timeout)
        if result.returncode:
            tail = "\n".join((result.stderr or result.stdout).strip().splitlines()[-8:])
            raise ToolchainError(f"{Path(argv[0]).name} failed while preparing the import check:\n{tail}", _BY_HAND)
        return result


_BY_HAND = "run the command that -v shows by hand, or verify with --level static"


def read_probe(result: Result) -> Mapping[str, Any]:
    """What the probe printed, or an ``error`` where it died. The last line is its own; torch may print before it."""
    lines = result.stdout.strip().splitlines()
    try:
        report = json.loads(lines[-1]) if lines else None
    except ValueError:
        report = None
    if isinstance(report, dict) and (result.returncode == 0 or "error" in report):
        return report
    tail = " | ".join(result.stderr.strip().splitlines()[-3:])
    return {"error": f"the interpreter ended with {result.returncode}: {tail or 'no message'}"}


def judge(report: Mapping[str, Any], cell: Cell, *, gpu: bool = False) -> Iterator[Finding]:
    """What the probe saw against the cell."""
    package = cell.combo.package
    if "error" in report:
        yield Finding("import.failed", package, f"import {package}", str(report["error"]))
        return
    if not str(report["file"]).startswith(str(report["prefix"])):
        yield Finding("import.place", package, f"a package below {report['prefix']}", str(report["file"]))
    if Version(str(report["torch"])).base_version != Version(cell.combo.torch).base_version:
        yield Finding("import.torch", package, f"torch {cell.combo.torch}", f"torch {report['torch']}")
    missing = sorted(set(report["expected"]) - set(report["registered"]))
    if missing or not report["registered"]:
        yield Finding("import.operators", package, ", ".join(missing) or "operators", "not registered")
    if report["without_cuda"]:
        yield Finding("import.operators", package, "a CUDA kernel for each", ", ".join(report["without_cuda"]))
    record = report["record"]
    seen = (report["version"], record.get("build_tag"), record.get("torch"), record.get("cuda"))
    wanted = (cell.version, cell.build_tag, cell.combo.torch, cell.combo.cuda)
    if seen != wanted:
        yield Finding("import.record", package, " ".join(map(str, wanted)), " ".join(map(str, seen)))
    if gpu:
        yield from _judge_gpu(report.get("gpu", {}), package)


def _judge_gpu(gpu: Mapping[str, Any], package: str) -> Iterator[Finding]:
    if not gpu.get("device"):
        yield Finding("gpu.skipped", package, "a GPU", "none that torch can use")
    for case in gpu.get("cases", ()):
        if not case["error"] <= gpu["bound"]:  # a NaN is no less a failure
            where = f"{case['shape']} {case['dtype']}{' causal' if case['causal'] else ''} on {gpu['device']}"
            yield Finding("gpu.numerics", where, f"a relative error of at most {gpu['bound']}", str(case["error"]))


def _foreign(platform: str) -> tuple[str, str] | None:
    """The system and machine that a platform needs, if this one is not of that kind."""
    system = "Windows" if platform.startswith("win") else "Linux"
    machine = "aarch64" if platform.endswith("aarch64") else "x86_64"
    here = {"win32": "Windows", "linux": "Linux"}.get(sys.platform, sys.platform)
    same = here == system and host.machine().lower().replace("amd64", "x86_64").replace("arm64", "aarch64") == machine
    return None if same else (system, machine)


def own_interpreter(cell: Cell) -> Path | None:
    """The interpreter that runs this, if it is the cell's Python and has the cell's torch."""
    try:
        torch = Version(metadata.version("torch"))
    except metadata.PackageNotFoundError:
        return None
    fits = running() == cell.combo.python and torch.base_version == Version(cell.combo.torch).base_version
    return Path(sys.executable) if fits else None


def library_folder(python: Path, runner: Runner) -> Path:
    """Where the torch of an interpreter has its libraries. Raises ToolchainError if it has no torch."""
    code = "import importlib.util; print(importlib.util.find_spec('torch').submodule_search_locations[0])"
    result = runner.run([python, "-c", code], timeout=TIMEOUT)
    if result.returncode:
        raise ToolchainError(f"{python} has no torch", "name the interpreter of an environment with torch in it")
    return Path(result.stdout.strip()) / "lib"
