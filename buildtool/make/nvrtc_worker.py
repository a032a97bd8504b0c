"""A worker that compiles CUDA C++ with one NVRTC library. Standard library only; started as a script, one per process.

Two NVRTC majors in one process break each other, hence the process of its own. Usage: ``nvrtc_worker.py LIBNVRTC
[BUILTINS]``. Jobs come in as JSON lines ``{"source", "options", "output"}`` (paths relative to the working directory);
answers go out as JSON lines ``{"ok", "log", "cpu"}``. The first line out is ``{"version": [major, minor]}``.
End of input ends the worker, so it does not outlive its parent; nor does it complain of that.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class Nvrtc:
    """The few NVRTC entry points that turn a source into a cubin."""

    def __init__(self, library: str, builtins: str | None) -> None:
        if builtins:
            # NVRTC 13 opens its builtins by bare name, which works only if they are loaded already.
            ctypes.CDLL(builtins, mode=ctypes.RTLD_GLOBAL)
        self._lib = ctypes.CDLL(library)
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def version(self) -> tuple[int, int]:
        """CUDA version of the library."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self._lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return major.value, minor.value

    def compile(self, source: str, options: list[str]) -> tuple[bytes | None, str]:
        """Compile one file. Returns the cubin, or None if it was rejected, and the compiler's log."""
        program = ctypes.c_void_p()
        text = Path(source).read_bytes()
        self._check(self._lib.nvrtcCreateProgram(ctypes.byref(program), text, source.encode(), 0, None, None))
        try:
            words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = self._lib.nvrtcCompileProgram(program, len(options), words)
            log = self._bytes(program, "ProgramLog").rstrip(b"\0\n").decode("utf-8", "replace")
            if status != 0:
                return None, log or self._lib.nvrtcGetErrorString(status).decode()
            return self._bytes(program, "CUBIN"), log
        finally:
            self._lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(f"NVRTC: {self._lib.nvrtcGetErrorString(status).decode()}")


def main(argv: list[str]) -> int:
    """Serve jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # Whatever a library prints must not mix with the answers.

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        nvrtc = Nvrtc(argv[0], argv[1] if len(argv) > 1 else None)
        answer({"version": nvrtc.version()})
    except (OSError, RuntimeError) as error:
        answer({"error": str(error)})
        return 1
    for line in sys.stdin:
        job = json.loads(line)
        started = time.process_time()
        try:
            cubin, log = nvrtc.compile(job["source"], job["options"])
            if cubin is not None:
                Path(job["output"]).write_bytes(cubin)
            ok = cubin is not None
        except (OSError, RuntimeError) as error:
            ok, log = False, str(error)
        answer({"ok": ok, "log": log, "cpu": time.process_time() - started})
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except BrokenPipeError:
        os._exit(1)  # The parent was killed: nobody waits for the answer, which a plain exit would try to send again.
    sys.exit(code)
