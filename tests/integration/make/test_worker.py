"""The process that holds NVRTC, whose parent is killed while it compiles."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.make.nvrtc import WORKER

pytestmark = pytest.mark.integration
COMPILER = shutil.which("g++") or pytest.skip("needs g++", allow_module_level=True)

NVRTC = """
#include <stddef.h>
extern "C" {
int nvrtcVersion(int *major, int *minor) { *major = 12; *minor = 8; return 0; }
const char *nvrtcGetErrorString(int) { return "?"; }
int nvrtcCreateProgram(void **, const char *, const char *, int, const char **, const char **) { return 0; }
int nvrtcCompileProgram(void *, int, const char **) { return 0; }
int nvrtcGetProgramLogSize(void *, size_t *size) { *size = 1; return 0; }
int nvrtcGetProgramLog(void *, char *) { return 0; }
int nvrtcGetCUBINSize(void *, size_t *size) { *size = 4; return 0; }
int nvrtcGetCUBIN(void *, char *to) { to[0] = 'E'; return 0; }
int nvrtcDestroyProgram(void **) { return 0; }
}
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """A worker with a library that compiles nothing at once."""
    (folder / "nvrtc.cpp").write_text(NVRTC)
    library = folder / "libnvrtc.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, folder / "nvrtc.cpp"], check=True)
    argv: list[str | Path] = [sys.executable, "-I", "-S", WORKER, library]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=folder, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize("killed", [False, True])
def test_a_worker_whose_parent_is_gone_ends_quietly(tmp_path: Path, *, killed: bool) -> None:
    job = json.dumps({"source": "nvrtc.cpp", "options": [], "output": "out.cubin"})
    with start(tmp_path) as worker:
        assert worker.stdin
        assert worker.stdout
        assert worker.stderr
        assert json.loads(worker.stdout.readline()) == {"version": [12, 8]}
        if killed:
            worker.stdout.close()
        worker.stdin.write(job + "\n")
        worker.stdin.close()
        assert worker.stderr.read() == ""
        if not killed:
            assert json.loads(worker.stdout.read())["ok"]
    assert worker.returncode == int(killed)
    assert (tmp_path / "out.cubin").read_bytes() == b"E\0\0\0"
