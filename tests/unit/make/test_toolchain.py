from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from buildtool.errors import ToolchainError
from buildtool.make.locks import entries, requirement
from buildtool.make.runner import Result, base_environment
from buildtool.make.store import Store
from buildtool.make.toolchain import Installed, Toolchains, find_library, locked, locked_pure

LOCK = """# Written by: python -m buildtool lock
nvidia-cuda-nvrtc-cu12==12.8.93 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
torch==2.8.0 \\
    --hash=sha256:cc
networkx==3.2.1 ; python_full_version < '3.10' \\
    --hash=sha256:dd
networkx==3.7 ; python_full_version >= '3.12' \\
    --hash=sha256:ee
"""


class Uv:
    """Plays uv: fails as often as it is told, then installs one file."""

    def __init__(self, *failures: str, offline_works: bool = False) -> None:
        self.failures, self.offline_works, self.calls = list(failures), offline_works, 0
        self.last: list[str] = []

    def run(
        self,
        argv: Sequence[str | PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 1800.0,
    ) -> Result:
        del cwd, env, timeout
        self.calls += 1
        self.last = words = [str(word) for word in argv]
        if "--offline" in words and not self.offline_works:
            return Result(tuple(words), 1, "", "no cache", 0, 0)
        if self.failures and "--offline" not in words:
            return Result(tuple(words), 1, "", self.failures.pop(0), 0, 0)
        target = Path(words[words.index("--target") + 1]) / "nvidia" / "cuda_nvrtc" / "lib"
        target.mkdir(parents=True)
        for name in ("libnvrtc.so.12", "libnvrtc.alt.so.12", "libnvrtc-builtins.so.12.8"):
            (target / name).write_bytes(b"x")
        return Result(tuple(words), 0, "", "", 0, 0)

    def start(
        self, argv: Sequence[str | PathLike[str]], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Popen[str]:
        raise NotImplementedError

    def terminate(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def test_the_lock_is_taken_apart_by_requirement() -> None:
    assert [requirement(e) for e in entries(LOCK)][:2] == ["nvidia-cuda-nvrtc-cu12==12.8.93", "torch==2.8.0"]
    assert "--hash=sha256:cc" in locked(LOCK, ["torch==2.8.0"])
    assert locked_pure(LOCK).count("networkx") == 2
    with pytest.raises(ToolchainError, match=r"torch==2\.9\.0"):
        locked(LOCK, ["torch==2.9.0"])


PIN = "nvidia-cuda-nvrtc-cu12==12.8.93"
NETWORK = "error sending request for url: dns error"


def test_a_toolchain_is_installed_once(tmp_path: Path) -> None:
    uv = Uv()
    for _ in range(2):
        library = Toolchains(Store(tmp_path), uv, Path("uv")).nvrtc(PIN, LOCK)
    assert library.nvrtc.name == "libnvrtc.so.12"
    assert library.builtins.name == "libnvrtc-builtins.so.12.8"
    assert uv.calls == 1


def test_windows_takes_the_cuda_build_from_pytorchs_index(tmp_path: Path) -> None:
    pins, seen = ("torch==2.8.0", PIN), []

    class Recorder(Uv):
        def run(self, argv: Sequence[str | PathLike[str]], **options: Any) -> Result:
            words = [str(word) for word in argv]
            seen.append((words, Path(words[words.index("-r") + 1]).read_text()))
            return super().run(argv, **options) if "--require-hashes" in words else Result((), 0, "", "", 0, 0)

    toolchains = Toolchains(Store(tmp_path), Recorder(), Path("uv"))
    for platform in ("win_amd64", "linux_x86_64"):
        toolchains.torch(pins, LOCK, "3.12", platform, "cu128")
    (first, hashed), (second, apart), (_, all_hashed) = seen
    assert "--require-hashes" in first
    assert "torch==2.8.0" not in hashed
    assert apart == "torch==2.8.0+cu128"
    assert second[second.index("--default-index") + 1].endswith("/cu128")
    assert second[second.index("--python-platform") + 1] == "x86_64-pc-windows-msvc"
    assert "torch==2.8.0" in all_hashed


def test_a_network_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    uv = Uv(NETWORK, NETWORK)
    Toolchains(Store(tmp_path), uv, Path("uv")).nvrtc(PIN, LOCK)
    assert uv.failures == []


def test_without_a_network_uvs_cache_is_enough(tmp_path: Path) -> None:
    uv = Uv(NETWORK, offline_works=True)
    Toolchains(Store(tmp_path), uv, Path("uv")).nvrtc(PIN, LOCK)
    assert uv.calls == 2


def test_a_network_that_stays_away_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="network cannot be reached") as caught:
        Toolchains(Store(tmp_path), Uv(*[NETWORK] * 9), Path("uv")).nvrtc(PIN, LOCK)
    assert PIN in caught.value.message


def test_any_other_failure_is_not_repeated(tmp_path: Path) -> None:
    uv = Uv("No solution found", "No solution found")
    with pytest.raises(ToolchainError, match="No solution found"):
        Toolchains(Store(tmp_path), uv, Path("uv")).nvrtc(PIN, LOCK)
    assert uv.calls == 1


def test_a_wheel_without_the_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="libnvrtc"):
        find_library(tmp_path, PIN)


def test_what_a_front_end_installed_counts_only_in_the_exact_version(tmp_path: Path) -> None:
    (tmp_path / "torch-2.8.0+cu128.dist-info").mkdir()
    (tmp_path / "nvidia_cuda_nvrtc_cu12-12.8.93.dist-info").mkdir()
    installed = Installed((tmp_path / "none", tmp_path))
    assert installed.root_of(["torch==2.8.0", PIN]) == tmp_path
    assert installed.root_of(["torch==2.8.1"]) is None


def test_compilers_see_a_clean_environment() -> None:
    env = base_environment({"PATH": "/bin", "CPATH": "/x", "PYTHONPATH": "/y", "CXXFLAGS": "-O0", "HOME": "/h"})
    assert env == {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


def test_trees_make_room_for_each_other_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    store = Store(tmp_path)
    short = Toolchains(store, Uv(), Path("uv"), free=lambda _: 5e9)
    short.nvrtc(PIN, LOCK)
    for number in range(5):
        uv = Uv()
        toolchains = Toolchains(store, uv, Path("uv"), free=lambda _: 5e9)
        assert not toolchains.has_torch((PIN,), LOCK, f"3.{number}", "linux_x86_64")
        toolchains.torch((PIN,), LOCK, f"3.{number}", "linux_x86_64")
        assert "--no-cache" in uv.last
    there = [short.has_torch((PIN,), LOCK, f"3.{number}", "linux_x86_64") for number in range(5)]
    assert there == [False, True, True, True, True]
    assert len(list(store.root.glob("nvrtc/*/*"))) == 1  # kernels may be compiling with it
    uv = Uv()
    Toolchains(store, uv, Path("uv"), free=lambda _: 1e12).torch((PIN,), LOCK, "3.0", "linux_x86_64")
    assert (uv.calls, "--no-cache" in uv.last) == (1, False)
    assert len(list(store.root.glob("torch/*/*"))) == 5
