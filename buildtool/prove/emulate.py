"""An environment for a Python of another machine, run by qemu's user emulation: the import of cross-built wheels.

``BUILDTOOL_AARCH64_ROOT`` names a folder that holds what an arm64 Debian has below ``/``: CPython with its standard
library and the C and C++ runtimes. Nothing is installed there; docs/verification.md says how to make one.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = "BUILDTOOL_AARCH64_ROOT"
SLOWER = 8
"""How much longer a program may take under emulation."""
# torch looks up what processor it runs on, and from 2.13 on dies where this system's files describe another kind.
_CPU = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes sha1 sha2 crc32 atomics fphp asimdhp asimddp\n"
    "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n",
    "sys/devices/system/cpu/cpu0/regs/identification/midr_el1": "0x00000000413fd0c1\n",
}


@dataclass(frozen=True)
class Emulator:
    """qemu, and the files of the other machine that it runs programs with."""

    qemu: Path
    root: Path
    python: Path


def find(machine: str, version: str, environ: Mapping[str, str]) -> Emulator | str:
    """The emulator for a CPython of this version on that machine, or why there is none."""
    if machine != "aarch64":
        return "a machine of another kind"
    if not (root := environ.get(ROOT)):
        return f"a machine of another kind, and {ROOT} is not set"
    python = Path(root).absolute() / "usr" / "bin" / f"python{version}"
    if not python.is_file():
        return f"{ROOT} has no usr/bin/{python.name}"
    for name in ("qemu-aarch64-static", "qemu-aarch64"):
        if qemu := shutil.which(name, path=environ.get("PATH")):
            return Emulator(Path(qemu), Path(root).absolute(), python)
    return "no qemu-aarch64-static on PATH"


def environment(emulator: Emulator, wheel: Path, folder: Path) -> Path:
    """A virtual environment with the wheel in it, made without running anything; returns its interpreter.

    That interpreter is a script, so whoever starts it need not know of the emulation.
    """
    python = emulator.python
    root = folder / "sysroot"
    for name, text in _CPU.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    for entry in emulator.root.iterdir():
        if entry.name not in ("proc", "sys"):
            (root / entry.name).symlink_to(entry)
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text(f"home = {python.parent}\ninclude-system-site-packages = false\n", "utf-8")
    real = folder / "bin" / python.name
    real.symlink_to(python)
    program = folder / "bin" / "python"
    program.write_text(f"#!/bin/sh\nexec '{emulator.qemu}' -L '{root}' '{real}' \"$@\"\n", "utf-8")
    program.chmod(0o755)
    site = folder / "lib" / python.name / "site-packages"
    with zipfile.ZipFile(wheel) as archive:  # the bytes passed the static level: no member leaves the folder
        archive.extractall(site)
    return program
