"""The one subprocess door: an argv list, echoed, with an explicit working directory and environment."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from buildtool.errors import ToolchainError

_DROPPED = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD")
_DROPPED_PREFIXES = ("PYTHON", "NVCC_", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "TORCH_", "GCC_", "COMPILER_PATH")
_GRACE_SECONDS = 2.0
_SIGNALS = (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM))


class TimedOutError(ToolchainError):
    """A command ran longer than it may."""


@dataclass(frozen=True)
class Result:
    """What came of one command. Times in seconds; ``cpu`` counts the command and the children it waited for."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    wall: float
    cpu: float


class Runner(Protocol):
    """The port through which everything in ``make`` and ``prove`` runs a program."""

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 1800.0,
    ) -> Result:
        """Run to the end and return what came of it, whatever the exit code."""
        ...

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a worker that is spoken to in lines over its stdin and stdout."""
        ...

    def terminate(self) -> None:
        """End every program that is still running."""
        ...


def base_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment less everything that would leak into compilers or interpreters; locale C.UTF-8."""
    source = os.environ if environ is None else environ
    kept = {k: v for k, v in source.items() if k not in _DROPPED and not k.startswith(_DROPPED_PREFIXES)}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


class Processes:
    """The real :class:`Runner`. Safe to use from several threads."""

    def __init__(self, echo: Callable[[str], None] = lambda _: None) -> None:
        self._echo = echo
        self._live: set[subprocess.Popen[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.terminate)

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 1800.0,
    ) -> Result:
        """Run to the end and return what came of it; raise ToolchainError if it cannot start or takes too long."""
        words = [os.fspath(word) for word in argv]
        started = time.monotonic()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._spawn(words, cwd, env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            try:
                cpu = _wait(process, started + timeout)
            except BaseException:
                _kill(process)
                raise
            finally:
                self._forget(process)
            wall = time.monotonic() - started
            out.seek(0)
            err.seek(0)
            stdout, stderr = (stream.read().decode("utf-8", "replace") for stream in (out, err))
        return Result(tuple(words), process.returncode, stdout, stderr, wall, cpu)

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start a worker that is spoken to in lines over its stdin and stdout."""
        words = [os.fspath(word) for word in argv]
        return self._spawn(words, cwd, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True)

    def terminate(self) -> None:
        """End every program that is still running, and start no more."""
        with self._lock:
            self._closed = True
            live = tuple(self._live)
        # Only the thread that started a program may wait for it, so here it is signalled and looked at, not reaped.
        for sign in _SIGNALS:
            for process in live:
                _signal(process, sign)
            deadline = time.monotonic() + _GRACE_SECONDS
            while any(process.returncode is None for process in live) and time.monotonic() < deadline:
                time.sleep(0.01)

    def _spawn(
        self, words: list[str], cwd: Path | None, env: Mapping[str, str] | None, **streams: int | IO[bytes] | None
    ) -> subprocess.Popen[Any]:
        self._echo(f"$ {shlex.join(words)}")
        with _uninterrupted(), self._lock:
            if self._closed:
                raise KeyboardInterrupt
            try:
                process = subprocess.Popen(
                    words,
                    cwd=cwd,
                    env=dict(base_environment() if env is None else env),
                    start_new_session=True,
                    **streams,  # type: ignore[call-overload]
                )
            except OSError as error:
                raise ToolchainError(
                    f"cannot run {words[0]}: {error.strerror or error}",
                    "install it, or put its folder on PATH",
                ) from error
            self._live.add(process)
        return process  # type: ignore[no-any-return]

    def _forget(self, process: subprocess.Popen[Any]) -> None:
        with self._lock:
            self._live.discard(process)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: a program that is just being started must not be forgotten."""
    signs = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    held: list[int] = []
    before = [sign for sign in signs if signal.getsignal(sign) is signal.default_int_handler]
    for sign in before:
        signal.signal(sign, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for sign in before:
            signal.signal(sign, signal.default_int_handler)
    if held:
        raise KeyboardInterrupt


def _wait(process: subprocess.Popen[Any], deadline: float) -> float:
    """Wait for the process and return its CPU seconds."""
    if sys.platform == "win32":
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise _late(process) from error
        return 0.0
    pause = 0.001
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            raise _late(process)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def _late(process: subprocess.Popen[Any]) -> TimedOutError:
    words = process.args if isinstance(process.args, list) else [str(process.args)]
    return TimedOutError(f"{shlex.join(map(str, words))} did not end in time", "run it by hand to see where it hangs")


def _kill(process: subprocess.Popen[Any]) -> None:
    """Ask the process and its children to end, then insist; reaps it."""
    for sign in _SIGNALS:
        if process.poll() is not None:
            return
        _signal(process, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)


def _signal(process: subprocess.Popen[Any], sign: int) -> None:
    if process.returncode is None:
        with suppress(OSError):
            if sys.platform == "win32":
                process.terminate()
            else:
                os.killpg(process.pid, sign)
