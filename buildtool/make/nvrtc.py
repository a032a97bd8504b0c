"""A pool of NVRTC worker processes: each loads one library and compiles one source after another."""

from __future__ import annotations

import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from buildtool.errors import CompileError, ToolchainError
from buildtool.make.runner import Runner, base_environment

WORKER = Path(__file__).with_name("nvrtc_worker.py")
WORKER_BYTES = 700 << 20
"""Memory to reckon with per worker."""
COMPILE_SECONDS = 900.0
"""A kernel that takes longer than this hangs the compiler."""

_PLACE = re.compile(r"^(?P<file>[^\s(]+)\((?P<line>\d+)\): (?=error|warning|catastrophic)", re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """One NVRTC: its shared library and the builtins it loads."""

    nvrtc: Path
    builtins: Path
    pin: str


@dataclass(frozen=True)
class Job:
    """One translation unit to compile: a source below ``kernels/`` and the options."""

    name: str
    arch: str
    library: Library
    source: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """A finished job. ``cubin`` is None when the compiler refused; ``cpu`` in seconds."""

    job: Job
    cubin: Path | None
    log: str
    cpu: float


def workers(cores: int | None = None, free_bytes: int | None = None) -> int:
    """How many workers this machine carries: one a core, as far as memory goes, at least one."""
    count = (
        cores if cores is not None else (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count())
    )
    free = free_bytes if free_bytes is not None else _available_memory()
    return max(1, min(count or 1, free // WORKER_BYTES))


def _available_memory() -> int:
    try:
        text = Path("/proc/meminfo").read_text()
        return int(re.search(r"MemAvailable:\s+(\d+) kB", text).group(1)) << 10  # type: ignore[union-attr]
    except (OSError, AttributeError):
        return 8 << 30


def readable_log(log: str, root: str = "kernels") -> str:
    """The compiler's messages with ``file(line):`` turned into ``kernels/file:line:``."""
    return _PLACE.sub(lambda m: f"{root}/{m['file']}:{m['line']}: ", log)


def compile_all(
    jobs: Iterable[Job],
    *,
    folder: Path,
    scratch: Path,
    runner: Runner,
    count: int,
    done: Callable[[Outcome], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Compile the jobs, ``count`` at a time, in the working directory ``folder``; outcomes come in order of finishing.

    ``done`` is called in the worker's thread. A compiler that crashes or hangs makes a failed outcome, and a new worker
    goes on with the rest.
    """
    pending: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
    listed = sorted(jobs, key=lambda job: job.library.pin)
    for item in enumerate(listed):
        pending.put(item)
    finished: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        worker: _Worker | None = None
        try:
            while not stop.is_set():
                try:
                    number, job = pending.get_nowait()
                except queue.Empty:
                    return
                if worker is None or worker.library != job.library or not worker.usable:
                    if worker is not None:
                        worker.close()
                    worker = _Worker(job.library, folder, runner)
                outcome = worker.compile(job, scratch / f"{number}.cubin")
                done(outcome)
                finished.put(outcome)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            finished.put(error)
        finally:
            if worker is not None:
                worker.close()

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(count, len(listed)))]
    for thread in threads:
        thread.start()
    try:
        for _ in listed:
            result = finished.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=COMPILE_SECONDS if sys.exc_info()[0] is None else 0.0)


class _Worker:
    def __init__(self, library: Library, folder: Path, runner: Runner) -> None:
        self.library = library
        self.usable = True
        argv: list[str | Path] = [sys.executable, "-I", "-S", WORKER, library.nvrtc, library.builtins]
        self._process = runner.start(argv, cwd=folder, env=base_environment())
        hello = self._answer()
        if "version" not in hello:
            raise ToolchainError(
                f"NVRTC of {library.pin} does not load: {hello.get('error', 'the process ended')}",
                "remove the build cache's `toolchain` folder and run again",
            )

    def compile(self, job: Job, output: Path) -> Outcome:
        try:
            pipe = cast("IO[str]", self._process.stdin)
            pipe.write(json.dumps({"source": job.source, "options": job.options, "output": str(output)}) + "\n")
            pipe.flush()
        except OSError:
            self.usable = False
        answer = self._answer() if self.usable else {}
        if "ok" not in answer:
            self.usable = False
            code = self._process.wait()
            return Outcome(job, None, f"the compiler process ended (exit code {code})", 0.0)
        return Outcome(job, output if answer["ok"] else None, readable_log(answer["log"]), float(answer["cpu"]))

    def _answer(self) -> dict[str, Any]:
        watchdog = threading.Timer(COMPILE_SECONDS, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = cast("IO[str]", self._process.stdout).readline()
            return cast("dict[str, Any]", json.loads(line)) if line.endswith("\n") else {}
        finally:
            watchdog.cancel()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                cast("IO[str]", pipe).close()
        with suppress(Exception):
            self._process.wait(5)


def failure(outcome: Outcome) -> CompileError:
    """The error for one refused source: architecture, instance, and the compiler's own messages with file and line."""
    job = outcome.job
    return CompileError(
        f"{job.name} does not compile for {job.arch} with {job.library.pin}:\n{outcome.log}",
        f"correct kernels/{job.source} (options: {' '.join(job.options)})",
    )
