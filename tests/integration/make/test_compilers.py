"""The runner with real programs, and the real NVRTC from PyPI on a tiny kernel."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from buildtool.errors import ToolchainError
from buildtool.make import cubins, interpreters
from buildtool.make.locks import FOLDER
from buildtool.make.nvrtc import Library, failure
from buildtool.make.runner import Processes, TimedOutError
from buildtool.make.store import Store, default_root
from buildtool.make.toolchain import Toolchains
from buildtool.plan.instances import Instance
from buildtool.prove.cubin import read_cubin

pytestmark = pytest.mark.integration

PIN = "nvidia-cuda-nvrtc-cu12==12.8.93"
KERNEL = """#include <sage/scale.h>
extern "C" __global__ void __launch_bounds__(128) ENTRY(float* x) {
  __shared__ float s[128];
  s[threadIdx.x] = x[threadIdx.x] * SCALE;
  __syncthreads();
  x[threadIdx.x] = s[127 - threadIdx.x];
}
"""


def test_a_command_runs_in_its_folder_with_its_environment(tmp_path: Path) -> None:
    said: list[str] = []
    script = "import os, sys; print(os.getcwd(), os.environ['A']); sys.stderr.write('e'); sys.exit(3)"
    result = Processes(said.append).run([sys.executable, "-c", script], cwd=tmp_path, env={"A": "b"})
    assert (result.stdout, result.stderr, result.returncode) == (f"{tmp_path} b\n", "e", 3)
    assert said[0].startswith("$ ")
    assert result.cpu > 0


def test_a_command_that_is_not_there_or_hangs_is_a_clear_error() -> None:
    with pytest.raises(ToolchainError, match="no-such-program"):
        Processes().run(["no-such-program"])
    with pytest.raises(TimedOutError, match="sleep 60"):
        Processes().run(["sleep", "60"], timeout=0.2)


def test_terminate_ends_what_runs_and_refuses_more() -> None:
    processes = Processes()
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(processes.run(["sleep", "60"]).returncode))
    thread.start()
    time.sleep(0.3)
    processes.terminate()
    thread.join(10)
    assert codes == [-15]
    with pytest.raises(KeyboardInterrupt):
        processes.run(["true"])


def test_the_running_interpreter_is_found_and_a_broken_shim_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert interpreters.find_python(version, Processes()) == Path(sys.executable)
    shim = tmp_path / "python3.4"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert interpreters.find_python("3.4", Processes()) is None


@pytest.fixture(scope="module")
def library() -> Library:
    lock = (FOLDER / "torch-2.8.0-cuda-12.8.txt").read_text()
    try:
        return Toolchains(Store(default_root()), Processes()).nvrtc(PIN, lock)
    except ToolchainError as error:
        pytest.skip(f"NVRTC from PyPI is needed: {error.message}")


def target(library: Library, arch: str = "sm_90a", scale: str = "2.0f") -> cubins.Target:
    defines = (("SCALE", scale), ("ENTRY", "tiny"))
    instance = Instance("tiny", "tiny", "sage2/tiny.cu", defines, frozenset({arch}), frozenset({"p"}))
    return cubins.Target(instance, arch, library)


def sources(folder: Path) -> Path:
    for name, text in (("sage2/tiny.cu", KERNEL), ("include/sage/scale.h", "#pragma once\n")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_kernel_is_compiled_once_measured_and_the_same_in_every_folder(library: Library, tmp_path: Path) -> None:
    targets = [target(library, arch) for arch in ("sm_80", "sm_90a", "sm_120a")]
    found = []
    for place in ("here", "there"):
        kernels, store = sources(tmp_path / place), Store(tmp_path / place / "cache")
        made, failed = cubins.make(targets, kernels=kernels, store=store, runner=Processes(), count=2)
        assert failed == {}
        again, _ = cubins.make(targets, kernels=kernels, store=store, runner=Processes(), count=2)
        assert [made[t].cached for t in targets] == [False] * 3
        assert [again[t].cached for t in targets] == [True] * 3
        assert again[targets[1]].resources.shared == 512
        assert 0 < again[targets[1]].resources.registers <= 32
        found.append([made[t].path.read_bytes() for t in targets])
        assert [read_cubin(data).arch for data in found[-1]] == ["sm_80", "sm_90a", "sm_120a"]
    assert found[0] == found[1]


def test_a_compile_error_names_the_line_and_stops_nothing_else(library: Library, tmp_path: Path) -> None:
    kernels, store = sources(tmp_path), Store(tmp_path / "cache")
    bad, good = target(library, scale="undefined_name"), target(library)
    made, failed = cubins.make([bad, good], kernels=kernels, store=store, runner=Processes(), count=1)
    assert set(made) == {good}
    error = failure(failed[bad])
    assert 'kernels/sage2/tiny.cu:4: error: identifier "undefined_name" is undefined' in error.message
    assert "sm_90a" in error.message
