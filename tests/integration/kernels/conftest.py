"""Kernels compiled for the CPU: their sources, with the headers in emulator/ in place of those that hold PTX."""

from __future__ import annotations

import ctypes
import importlib
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
# Static shared memory is a static variable: one block runs at a time.
SHARED = {
    "extern __shared__ uint4 scratch[];": "auto* scratch = reinterpret_cast<uint4*>(shared);",
    "extern __shared__ uint4 pieces[];": "auto* pieces = reinterpret_cast<uint4*>(shared);",
    "__shared__ ": "static ",
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
            text = text.replace(there, here)
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
