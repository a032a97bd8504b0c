"""Compilers and headers from PyPI: uv installs exact, hashed pins into cached folders, and nothing else is needed.

Two folders serve a cell. ``compiler``: NVRTC of the cell's CUDA version. ``torch``: the torch wheel of the cell's
release without its NVIDIA dependencies, the pure Python packages it imports, and the CUDA headers that its own headers
include. The torch wheel is PyPI's also when PyTorch's own index has another CUDA build of the release: headers and
the ``libc10_cuda`` ABI are the same for all CUDA builds of a release. For Windows PyPI has no CUDA build: there it is
the exact build from PyTorch's index, whose hashes are that index's own.
"""

from __future__ import annotations

import os
import platform as host
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make.interpreters import find_uv
from buildtool.make.locks import VENDOR, entries, requirement
from buildtool.make.nvrtc import Library
from buildtool.make.runner import Runner, base_environment
from buildtool.make.store import Store, digest
from buildtool.plan.cells import PYTORCH_INDEX

NVRTC_KIND, TORCH_KIND = "nvrtc", "torch"
_RETRY_SECONDS = (2.0, 6.0)
_NETWORK = re.compile(
    r"failed to (fetch|download|lookup)|error sending request|dns error|connection|timed? ?out", re.IGNORECASE
)
_SCARCE_BYTES = 40e9
"""With less free disk than this, what is installed is not kept in uv's cache as well."""
_ROOM_BYTES = 20e9
"""With less free disk than this, torch trees that were not used for longest make room for the next one."""
_UV_PLATFORMS = {
    "linux_x86_64": "x86_64-manylinux_2_28",
    "manylinux_2_28_x86_64": "x86_64-manylinux_2_28",
    "linux_aarch64": "aarch64-manylinux_2_28",
    "manylinux_2_28_aarch64": "aarch64-manylinux_2_28",
    "win_amd64": "x86_64-pc-windows-msvc",
}


@dataclass(frozen=True)
class TorchTree:
    """An installed torch with the CUDA headers: everything the binding is compiled and linked against."""

    root: Path
    pins: tuple[str, ...]

    @property
    def lib(self) -> Path:
        return self.root / "torch" / "lib"

    @property
    def include_folders(self) -> tuple[Path, ...]:
        """Torch's own headers, then CUDA's."""
        torch = self.root / "torch" / "include"
        nvidia = sorted(p for p in self.root.glob("nvidia/*/include") if p.is_dir())
        return (torch, torch / "torch" / "csrc" / "api" / "include", *nvidia)

    @property
    def cuda_libraries(self) -> tuple[Path, ...]:
        """Folders with the NVIDIA libraries that are there."""
        return tuple(sorted({p.parent for p in self.root.glob("nvidia/**/*.so*")}))


def locked(lock: str, pins: Iterable[str]) -> str:
    """The part of a lock that pins these requirements: text for ``--require-hashes``. Raises ToolchainError."""
    known = {requirement(entry): entry for entry in entries(lock)}
    for pin in (wanted := tuple(pins)):
        if pin not in known:
            raise ToolchainError(f"the lock has no hashes for {pin}", "renew it with `python -m buildtool lock`")
    return "".join(f"{known[pin]}\n" for pin in wanted)


def locked_pure(lock: str) -> str:
    """The rest of a lock: the pure Python packages that torch imports."""
    return "".join(f"{entry}\n" for entry in entries(lock) if not VENDOR.match(entry))


@dataclass(frozen=True)
class Installed:
    """Folders in which a build front end has installed the build requirements."""

    folders: tuple[Path, ...]

    def root_of(self, pins: Iterable[str]) -> Path | None:
        """The one folder that has all of these pins, or None."""
        wanted = [pin.partition("==") for pin in pins]
        for folder in self.folders:
            stems = [f"{name.replace('-', '_')}-{version}" for name, _, version in wanted]
            # PyTorch's own index adds a local version such as +cu128.
            if all(any(folder.glob(f"{stem}.dist-info")) or any(folder.glob(f"{stem}+*.dist-info")) for stem in stems):
                return folder
        return None


@dataclass(frozen=True)
class Toolchains:
    """Provides compilers and torch trees from the store, installing them with uv when they are not there."""

    store: Store
    runner: Runner
    uv: Path | None = None
    environ: Mapping[str, str] | None = None
    free: Callable[[Path], float] = lambda folder: shutil.disk_usage(folder).free
    """Free bytes on the file system of a folder."""
    users: int = 2
    """How many wheels may be made side by side: the torch trees used last, one more than these, are never dropped."""

    def nvrtc(self, pin: str, lock: str) -> Library:
        """The NVRTC of this pin, for the machine that runs the build."""
        text, place = locked(lock, [pin]), f"{sys.platform}-{host.machine()}"
        key = digest({"requirements": text, "place": place})
        root, _ = self.store.fetch(NVRTC_KIND, key, lambda folder: self._install(text, folder), sizes_only=True)
        return find_library(root, pin)

    def torch(self, pins: tuple[str, ...], lock: str, python: str, platform: str, channel: str = "pypi") -> TorchTree:
        """Torch (first of ``pins``) and its CUDA headers for a platform and Python, with torch's pure dependencies.

        ``channel`` is the folder of PyTorch's index with the cell's build; it counts for Windows alone.
        """
        apart, machine = _apart(pins, platform, channel), _UV_PLATFORMS[platform]

        def fill(folder: Path) -> None:
            while self.free(folder) < _ROOM_BYTES and self.store.drop_oldest(TORCH_KIND, keep=self.users + 1):
                pass
            self._install(_wanted(pins, lock, apart), folder, python, machine)
            if apart:
                self._install(apart, folder, python, machine, index=f"{PYTORCH_INDEX}/{apart.rpartition('+')[2]}")

        root, _ = self.store.fetch(TORCH_KIND, _tree_key(pins, lock, python, platform, apart), fill, sizes_only=True)
        return TorchTree(root, pins)

    def has_torch(self, pins: tuple[str, ...], lock: str, python: str, platform: str, channel: str = "pypi") -> bool:
        """Whether that tree is in the store, without reading it."""
        key = _tree_key(pins, lock, python, platform, _apart(pins, platform, channel))
        return self.store.path(TORCH_KIND, key).is_dir()

    def _install(
        self,
        requirements: str,
        folder: Path,
        python: str | None = None,
        platform: str | None = None,
        *,
        index: str = "",
    ) -> None:
        uv = self.uv or find_uv()
        listing = folder.parent / "requirements.txt"
        listing.write_text(requirements)
        argv: list[str | Path] = [uv, "pip", "install", "--target", folder, "--python", sys.executable]
        argv += ["--default-index", index] if index else ["--require-hashes"]
        argv += ["--no-deps", "--only-binary", ":all:", "--no-progress", "-r", listing]
        if self.free(folder) < _SCARCE_BYTES:
            argv.append("--no-cache")  # else uv keeps a second name of every file, and dropping a tree frees nothing
        if python is not None:
            argv += ["--python-version", python.rstrip("t")]
        if platform is not None:
            argv += ["--python-platform", platform]
        env = base_environment(self.environ)
        for pause in (*_RETRY_SECONDS, None):
            result = self.runner.run(argv, env=env, timeout=3600)
            if result.returncode == 0:
                return
            if not _NETWORK.search(result.stderr):
                break
            if self.runner.run([*argv, "--offline"], env=env, timeout=3600).returncode == 0:
                return
            if pause is None:
                raise ToolchainError(
                    f"the network cannot be reached for {_names(requirements)}:\n{_tail(result.stderr)}",
                    "run again when it can; what was already downloaded is kept",
                )
            time.sleep(pause)
        raise ToolchainError(
            f"uv could not install {_names(requirements)}:\n{_tail(result.stderr)}",
            "check that PyPI serves them for this Python and platform; `python -m buildtool lock` renews the lock",
        )


def _apart(pins: tuple[str, ...], platform: str, channel: str) -> str:
    """What PyTorch's own index has and PyPI has not: torch's CUDA builds for Windows."""
    return f"{pins[0]}+{channel}" if platform.startswith("win") else ""


def _wanted(pins: tuple[str, ...], lock: str, apart: str) -> str:
    return locked(lock, pins[1:] if apart else pins) + locked_pure(lock)


def _tree_key(pins: tuple[str, ...], lock: str, python: str, platform: str, apart: str) -> str:
    facts = {"requirements": _wanted(pins, lock, apart), "place": _UV_PLATFORMS[platform], "python": python}
    return digest({**facts, **({"apart": apart} if apart else {})})


def find_library(root: Path, pin: str) -> Library:
    """The NVRTC library and its builtins in an installed wheel. Raises ToolchainError if they are not there."""
    patterns = (
        ("libnvrtc.so.*", "libnvrtc-builtins.so.*") if os.name != "nt" else ("nvrtc64_*.dll", "nvrtc-builtins64_*.dll")
    )
    found = [sorted(p for p in root.glob(f"nvidia/**/{pattern}") if ".alt." not in p.name) for pattern in patterns]
    if not all(found):
        raise ToolchainError(f"{pin} has no {' or '.join(patterns)} below {root}", "remove that folder and run again")
    return Library(found[0][0], found[1][0], pin)


def _names(requirements: str) -> str:
    return ", ".join(requirement(entry) for entry in entries(requirements))


def _tail(text: str, lines: int = 12) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
