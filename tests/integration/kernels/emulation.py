"""Kernels compiled for the CPU: their sources, with the headers in emulator/ in place of those that hold PTX."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

EMULATOR = Path(__file__).parent / "emulator"
# Shared memory lies in the block's part of the emulator's array.
PLACED = r"""
using \2_type = \1\3;
static const unsigned \2_place = emulator::reserve(sizeof(\2_type));
auto& \2 = *reinterpret_cast<\2_type*>(shared + emulator::base() + \2_place);
"""
SHARED = {
    r"extern __shared__ uint4 (\w+)\[\];": r"auto* \1 = reinterpret_cast<uint4*>(shared + emulator::base());",
    r"__shared__ ([\w:]+) (\w+)((?:\[[^\]]*\])*);": PLACED,
}


def lay_out(root: Path, folder: Path) -> None:
    """Put everything that an emulated kernel is compiled from into a folder."""
    shutil.copytree(root / "kernels/include", folder, dirs_exist_ok=True)
    shutil.copytree(root / "kernels/sage2", folder / "sage2")
    shutil.copytree(EMULATOR, folder, dirs_exist_ok=True)
    names = ("quant_k", "quant_kv", "quant_kv_resident", "quant_v", "quant_int8", "pack")
    quantizers = (folder / "sage2" / f"{name}.cu" for name in names)
    for path in (*folder.glob("sage/quant_*.cuh"), *quantizers):
        text = path.read_text("utf-8")
        for there, here in SHARED.items():
            text = re.sub(there, here, text)
        path.write_text(text, "utf-8")


def compile_library(folder: Path, source: str, macros: Mapping[str, str | int], library: Path) -> None:
    """Compile a file of that folder into a library."""
    defines = [f"-D{name}={value}" for name, value in macros.items()]
    command = ["g++", "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-I.", *defines, "-o", str(library)]
    subprocess.run([*command, source], cwd=folder, check=True)
