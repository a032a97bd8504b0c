"""Real pip and real uv as users run them: without the configuration, caches or mirrors of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildtool.errors import ToolchainError
from buildtool.make.runner import Result, Runner, base_environment
from buildtool.make.store import Store, digest

PIPS = ("pip", "pip==23.2.1")
"""The newest pip, and the one that Python 3.12 and the distributions of 2023 came with."""
_TIMEOUT = 300.0


@dataclass(frozen=True)
class Target:
    """Where and for what something is installed: an environment's interpreter, or a folder for a foreign platform."""

    python: Path
    foreign: Path | None = None
    python_version: str = ""
    platform: str = ""


class Client(Protocol):
    """An installer."""

    @property
    def name(self) -> str: ...

    def install(self, package: str, index: str, target: Target) -> Result:
        """Install from that index alone, as the selector page tells users to."""
        ...


@dataclass(frozen=True)
class Pip:
    """A pip that was unpacked into a folder; it works on another environment through ``--python``."""

    name: str
    folder: Path
    python: Path
    runner: Runner

    def install(self, package: str, index: str, target: Target) -> Result:
        argv: list[str | Path] = [self.python, "-I", self.folder / "pip", "--isolated", "--disable-pip-version-check"]
        options: list[str | Path] = ["install", "--no-cache-dir", "--no-input", "--index-url", index]
        if target.foreign is None:
            argv += ["--python", target.python]
        else:
            tag = f"cp{target.python_version.rstrip('t').replace('.', '')}"
            abi = tag + ("t" if target.python_version.endswith("t") else "")
            options += ["--target", target.foreign, "--no-deps", "--only-binary", ":all:", "--implementation", "cp"]
            options += ["--python-version", target.python_version.rstrip("t"), "--abi", abi]
            options += ["--platform", target.platform]
        return self.runner.run([*argv, *options, package], env=clean_environment(), timeout=_TIMEOUT)


@dataclass(frozen=True)
class Uv:
    """uv's pip interface."""

    name: str
    uv: Path
    runner: Runner
    cache: Path

    def install(self, package: str, index: str, target: Target) -> Result:
        argv: list[str | Path] = [self.uv, "pip", "install", "--no-config", "--cache-dir", self.cache, "--no-progress"]
        argv += ["--default-index", index, "--python", target.python, "--link-mode", "copy"]
        if target.foreign is not None:
            argv += ["--target", target.foreign, "--no-deps", "--only-binary", ":all:"]
            argv += [
                "--python-version",
                target.python_version.rstrip("t"),
                "--python-platform",
                _uv_platform(target.platform),
            ]
        return self.runner.run([*argv, package], env=clean_environment(), timeout=_TIMEOUT)


def clean_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of pip and uv, and with no proxy before the loopback interface."""
    kept = base_environment(environ)
    kept = {key: value for key, value in kept.items() if not key.startswith(("PIP_", "UV_"))}
    return {**kept, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def provide_clients(store: Store, runner: Runner, uv: Path, python: Path, scratch: Path) -> tuple[Client, ...]:
    """The newest pip, an old pip, and uv. Raises ToolchainError if a pip cannot be fetched."""
    clients: list[Client] = []
    for pin in PIPS:
        # "newest" has no fixed content, so it is fetched each time; a pinned one is kept.
        folder = (
            _fetch(pin, scratch / "pip", uv, python, runner) if pin == "pip" else _kept(pin, store, uv, python, runner)
        )
        clients.append(Pip(f"pip {_version(folder)}", folder, python, runner))
    version = runner.run([uv, "--version"], env=clean_environment(), timeout=60).stdout.split()
    clients.append(Uv(f"uv {version[1] if len(version) > 1 else ''}".strip(), uv, runner, scratch / "uv-cache"))
    return tuple(clients)


def _kept(pin: str, store: Store, uv: Path, python: Path, runner: Runner) -> Path:
    def fill(folder: Path) -> None:
        _fetch(pin, folder, uv, python, runner)

    return store.fetch("installer", digest({"pin": pin}), fill)[0]


def _fetch(pin: str, folder: Path, uv: Path, python: Path, runner: Runner) -> Path:
    argv: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, "--target", folder, "--no-deps", pin]
    if pin == "pip":
        argv += ["--refresh-package", "pip"]
    result = runner.run(argv, env=base_environment(), timeout=_TIMEOUT)
    if result.returncode:
        raise ToolchainError(f"{pin} could not be fetched:\n{result.stderr.strip()[-500:]}", "run again with a network")
    return folder


def _version(folder: Path) -> str:
    return next(path.name.split("-")[1].removesuffix(".dist") for path in sorted(folder.glob("pip-*.dist-info")))


def _uv_platform(platform: str) -> str:
    machine = "aarch64" if platform.endswith("aarch64") else "x86_64"
    if platform.startswith("win"):
        return f"{machine}-pc-windows-msvc"
    if platform.startswith("manylinux_"):
        return f"{machine}-{'_'.join(platform.split('_')[:3])}"
    return f"{machine}-unknown-linux-gnu"


def site_packages(python: Path) -> Path:
    """The packages folder of a virtual environment, from its layout."""
    if os.name == "nt":
        return python.parent.parent / "Lib" / "site-packages"
    return next((python.parent.parent / "lib").glob("python*/site-packages"))
