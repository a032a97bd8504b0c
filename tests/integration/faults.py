"""A builder of real wheels from a tiny project in milliseconds, and faults that happen at a chosen moment in it.

The store, the staging, hatchling, the wheel and the output folder are the real ones. The compilers are played: they
answer at once with bytes made from their input. Each fault happens in a forked process, so a kill is a kill.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from subprocess import Popen
from typing import Any, cast

import hatchling.builders.wheel  # noqa: F401 - so that forked builds have it already

from buildtool.make import native, outbox, parts
from buildtool.make.runner import Result, Runner
from buildtool.make.schedule import work_of
from buildtool.make.stage import Package
from buildtool.make.store import Store, file_digest
from buildtool.make.toolchain import TorchTree
from buildtool.make.workshop import CellResult, Verdict, Workshop
from buildtool.plan.cells import BuildPlan, Cell, Combo, Pins
from buildtool.plan.instances import parse_instances

INSTANCES = """
[tiny]
source = "sage2/tiny.cu"
packages = ["tiny"]
archs = ["sm_80", "sm_90a"]
axes = [{ macro = "N", values = { one = "1", two = "2" } }]
"""
PYPROJECT = """
[build-system]
requires = ["hatchling", "torch==2.8.0", "nvidia-cuda-nvrtc-cu12==12.8.93", "nvidia-cuda-runtime-cu12==12.8.90",
  "nvidia-cuda-nvcc-cu12==12.8.93"]
[project]
name = "tiny"
version = "1.0"
dependencies = ["torch==2.8.*"]
[tool.hatch.build.targets.wheel]
packages = ["tiny"]
"""
PINS = Pins(
    "torch==2.8.0",
    "nvidia-cuda-nvrtc-cu12==12.8.93",
    "nvidia-cuda-runtime-cu12==12.8.90",
    "nvidia-cuda-nvcc-cu12==12.8.93",
)


def cell(python: str) -> Cell:
    tag = "cp" + python.replace(".", "")
    return Cell(
        combo=Combo("tiny", "2.8.0", "12.8", python, "linux_x86_64"),
        version="1.0",
        build_tag="280.128",
        wheel=f"tiny-1.0-280.128-{tag}-{tag}-linux_x86_64.whl",
        archs=("sm_80", "sm_90a"),
        pins=PINS,
        torch_requirement="torch==2.8.*",
        torch_index="pypi",
        cxx_standard=17,
        cxx11_abi=True,
        min_driver="525",
    )


def make_project(root: Path) -> None:
    files = {
        "kernels/sage2/tiny.cu": "#include <sage/a.h>\n" + "// kernel\n" * 200,
        "kernels/include/sage/a.h": "#pragma once\n",
        "kernels/binding/tiny.cpp": "#include <sage/a.h>\n",
        "kernels/instances.toml": INSTANCES,
        "tiny/__init__.py": "__version__ = '1.0'\n" * 100,
        "pyproject.toml": PYPROJECT,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


class _Pipe:
    """The worker's side of both pipes: a job written becomes a cubin and an answer to read."""

    def __init__(self, refuse: str) -> None:
        self._refuse = refuse
        self._answers = ['{"version": [12, 8]}\n']

    def write(self, line: str) -> None:
        job = json.loads(line)
        options = " ".join(job["options"])
        if self._refuse and self._refuse in options:
            answer = {"ok": False, "log": 'sage2/tiny.cu(3): error: identifier "x" is undefined', "cpu": 0.0}
        else:
            Path(job["output"]).write_bytes(options.encode() * 50)
            answer = {"ok": True, "log": "ptxas info : Used 8 registers", "cpu": 0.0}
        self._answers.append(json.dumps(answer) + "\n")

    def readline(self) -> str:
        return self._answers.pop(0)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Worker:
    def __init__(self, refuse: str) -> None:
        self.stdin = self.stdout = _Pipe(refuse)

    def wait(self, timeout: float | None = None) -> int:
        del timeout
        return 0

    def kill(self) -> None:
        pass


class Played:
    """A runner whose compilers answer at once. ``refuse`` is an option for which NVRTC reports an error."""

    def __init__(self, refuse: str = "") -> None:
        self.refuse = refuse

    def run(
        self,
        argv: Sequence[str | PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 1800.0,
    ) -> Result:
        del cwd, env, timeout
        words = [str(word) for word in argv]
        if "install" in words:
            lib = Path(words[words.index("--target") + 1], "nvidia", "cuda_nvrtc", "lib")
            lib.mkdir(parents=True)
            for name in ("libnvrtc.so.12", "libnvrtc-builtins.so.12.8"):
                (lib / name).write_bytes(b"x" * 3000)
        elif "-o" in words:
            Path(words[words.index("-o") + 1]).write_bytes(b"\x7fELF" * 1000)
        return Result(tuple(words), 0, "", "g++ version 12", 0.0, 0.0)

    def start(
        self, argv: Sequence[str | PathLike[str]], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Popen[str]:
        del argv, cwd, env
        return cast("Popen[str]", _Worker(self.refuse))

    def terminate(self) -> None:
        pass


def gate(wheel: Path, cell: Cell, torch: Callable[[], TorchTree], runner: Runner) -> Verdict:
    """Passes a wheel that is a whole zip."""
    del cell, torch, runner
    with zipfile.ZipFile(wheel) as archive:
        bad = archive.testzip()
    return Verdict(bad is None, {"sha256": file_digest(wheel)}, (f"{bad} is damaged",) if bad else ())


@dataclass(frozen=True)
class Site:
    """One project, its cache and its output folder, all below ``root``."""

    root: Path
    injected: list[str] = field(default_factory=list)
    """Every fault that was made to happen here."""

    @property
    def dist(self) -> Path:
        return self.root / "dist"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def temporary(self) -> Path:
        """Where the test lets temporary files go."""
        return self.root / "tmp"

    def build(self, pythons: Sequence[str] = ("3.12",), refuse: str = "") -> tuple[CellResult, ...]:
        plan = BuildPlan(tuple(cell(python) for python in pythons))
        project = self.root / "project"
        shop = Workshop(
            project=project,
            packages={"tiny": Package("tiny", Path())},
            store=Store(self.cache),
            runner=Played(refuse),
            provenance=lambda _cell, _digest: {},
            jobs=1,
            environ={"PATH": os.environ["PATH"]},
        )
        return native.build(work_of(plan, parse_instances(INSTANCES)), shop, self.dist, gate)

    def wheels(self) -> dict[str, str]:
        """Every wheel in the output folder, with its digest."""
        return {path.name: file_digest(path) for path in self.dist.glob("*.whl")}

    def leftovers(self) -> list[str]:
        """Whatever lies in the output folder beside wheels with their reports."""
        whole = {p.name for w in self.dist.glob("*.whl") for p in (w, outbox.report_path(w))}
        return sorted(p.name for p in self.dist.iterdir() if p.name not in whole) if self.dist.exists() else []


def mutates(event: str, args: tuple[Any, ...]) -> bool:
    """Whether an audit event is about to change a file system."""
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; returns its exit code, negative if a signal ended it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with Path(os.devnull).open("w") as null:
                os.dup2(null.fileno(), 2)
            work()
            code = 0
        except KeyboardInterrupt:
            code = 130
        except BaseException:  # noqa: BLE001 - the code says it
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def count_moments(site: Site) -> int:
    """How often one build changes a file system."""
    read, write = os.pipe()

    def counted() -> None:
        seen = 0

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal seen
            seen += mutates(event, args)

        sys.addaudithook(hook)
        site.build()
        os.write(write, str(seen).encode())

    if in_child(counted) != 0:
        raise AssertionError("the build does not run without faults")
    os.close(write)
    with os.fdopen(read) as pipe:
        return int(pipe.read())


def strike(site: Site, moment: int, fault: str) -> int:
    """Build in a process to which ``fault`` happens at the ``moment``-th change of a file system; its exit code."""

    def struck() -> None:
        seen = 0

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal seen
            if not mutates(event, args):
                return
            seen += 1
            if seen == moment:
                happen(fault)

        sys.addaudithook(hook)
        statuses = [result.status for result in site.build()]
        if "failed" in statuses:
            os._exit(3)

    return in_child(struck)


def happen(fault: str) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "interrupt":
        raise KeyboardInterrupt
    code = {"full": errno.ENOSPC, "read-only": errno.EROFS, "broken": errno.EIO}[fault]
    raise OSError(code, os.strerror(code))


def with_limit(site: Site, limit: int) -> int:
    """Build in a process that cannot write beyond ``limit`` bytes in any file: writes stop in the middle."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if "failed" in [result.status for result in site.build()]:
            os._exit(3)

    return in_child(limited)


def prepare(monkeypatch: Any) -> None:
    """Give the tiny cells a lock and a uv."""
    lock = "".join(f"{pin} \\\n    --hash=sha256:aa\n" for pin in PINS.all())
    monkeypatch.setattr(parts, "read_lock", lambda _cell: lock)
    monkeypatch.setattr("buildtool.make.toolchain.find_uv", lambda: Path("uv"))
