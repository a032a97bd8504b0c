"""What a build spent: CPU and wall seconds by stage, and how often each thing was made or found."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from subprocess import Popen
from typing import Any

from buildtool.make.runner import Result, Runner


class Ledger:
    """Thread-safe sums. A stage's CPU seconds are those of its subprocesses and of the thread that ran it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cpu: defaultdict[str, float] = defaultdict(float)
        self._wall: defaultdict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._parts: defaultdict[str, float] = defaultdict(float)

    def add(self, stage: str, cpu: float, wall: float = 0.0) -> None:
        with self._lock:
            self._cpu[stage] += cpu
            self._wall[stage] += wall

    def count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._counts[what] += number

    def charge(self, part: str, cpu: float) -> None:
        """Remember that these CPU seconds, counted in a stage already, were for ``part``."""
        with self._lock:
            self._parts[part] += cpu

    @contextmanager
    def account(self, part: str) -> Iterator[Ledger]:
        """A ledger for what is done for ``part``; its sums become this one's, and its CPU seconds are charged to it."""
        own = Ledger()
        try:
            yield own
        finally:
            for stage, cpu in own._cpu.items():
                self.add(stage, cpu, own._wall[stage])
                self.charge(part, cpu)
            for what, number in own._counts.items():
                self.count(what, number)

    @contextmanager
    def stage(self, name: str, runner: Runner) -> Iterator[Runner]:
        """Account the block, and every program run through the runner it yields, to stage ``name``."""
        cpu, wall = time.thread_time(), time.monotonic()
        try:
            yield _Accounting(runner, self, name)
        finally:
            self.add(name, time.thread_time() - cpu, time.monotonic() - wall)

    def to_json(self) -> dict[str, Any]:
        """``{"stages": {name: {"cpu", "wall"}}, "counts": {…}, "parts": {name: cpu}}``, rounded to hundredths."""
        with self._lock:
            stages = {
                name: {"cpu": round(self._cpu[name], 2), "wall": round(self._wall[name], 2)}
                for name in sorted(self._wall)
            }
            parts = {name: round(cpu, 2) for name, cpu in sorted(self._parts.items())}
            return {"stages": stages, "counts": dict(sorted(self._counts.items())), "parts": parts}


class _Accounting:
    """A runner that books what its programs cost."""

    def __init__(self, runner: Runner, ledger: Ledger, stage: str) -> None:
        self._runner, self._ledger, self._stage = runner, ledger, stage

    def run(
        self,
        argv: Sequence[str | PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 1800.0,
    ) -> Result:
        result = self._runner.run(argv, cwd=cwd, env=env, timeout=timeout)
        self._ledger.add(self._stage, result.cpu)
        return result

    def start(
        self, argv: Sequence[str | PathLike[str]], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Popen[str]:
        return self._runner.start(argv, cwd=cwd, env=env)

    def terminate(self) -> None:
        self._runner.terminate()
