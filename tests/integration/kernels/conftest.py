"""Kernels compiled for the CPU: their sources, with the headers in emulator/ in place of those that hold PTX."""

from __future__ import annotations

import ctypes
import importlib
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Compile = Callable[..., ctypes.CDLL]
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


@pytest.fixture(scope="session")
def emulated(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """``emulated(source, MACRO=value, …)``: a library of emulator/``source``, which is compiled once for its macros."""
    folder = tmp_path_factory.mktemp("emulated")
    shutil.copytree(root / "kernels/include", folder, dirs_exist_ok=True)
    shutil.copytree(root / "kernels/sage2", folder / "sage2")
    shutil.copytree(EMULATOR, folder, dirs_exist_ok=True)
    quantizers = (folder / "sage2" / f"{name}.cu" for name in ("quant_k", "quant_kv", "quant_v", "quant_int8", "pack"))
    for path in (*folder.glob("sage/quant_*.cuh"), *quantizers):
        text = path.read_text("utf-8")
        for there, here in SHARED.items():
            text = re.sub(there, here, text)
        path.write_text(text, "utf-8")
    libraries: dict[tuple[object, ...], ctypes.CDLL] = {}

    def compile_once(source: str, **macros: str | int) -> ctypes.CDLL:
        key = (source, *macros.items())
        if key not in libraries:
            library = folder / f"{len(libraries)}.so"
            defines = [f"-D{name}={value}" for name, value in macros.items()]
            command = ["g++", "-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-I.", *defines, "-o", str(library)]
            subprocess.run([*command, source], cwd=folder, check=True)
            libraries[key] = ctypes.CDLL(str(library))
            libraries[key].run.restype = ctypes.c_longlong
        return libraries[key]

    return compile_once


@pytest.fixture(scope="session")
def reference(root: Path) -> Any:
    """``sageattention.reference`` without the package's library."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "sageattention"}
    for name in before:
        del sys.modules[name]
    package = types.ModuleType("sageattention")
    package.__path__ = [str(root / "sageattention")]
    sys.modules["sageattention"] = package
    found = importlib.import_module("sageattention.reference")
    for name in [name for name in sys.modules if name.partition(".")[0] == "sageattention"]:
        del sys.modules[name]
    sys.modules.update(before)
    return found
