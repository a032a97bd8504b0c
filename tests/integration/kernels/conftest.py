"""Fixtures for tests of kernels on the CPU."""

from __future__ import annotations

import ctypes
import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.kernels.emulation import compile_library, lay_out

Compile = Callable[..., ctypes.CDLL]
Launch = Callable[..., int]


@pytest.fixture(scope="session")
def emulated(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """``emulated(source, MACRO=value, …)``: a library of emulator/``source``, which is compiled once for its macros."""
    folder = tmp_path_factory.mktemp("emulated")
    lay_out(root, folder)
    libraries: dict[tuple[object, ...], ctypes.CDLL] = {}

    def compile_once(source: str, **macros: str | int) -> ctypes.CDLL:
        key = (source, *macros.items())
        if key not in libraries:
            library = folder / f"{len(libraries)}.so"
            compile_library(folder, source, macros, library)
            libraries[key] = ctypes.CDLL(str(library))
        return libraries[key]

    return compile_once


@pytest.fixture(scope="session")
def launched(emulated: Compile) -> Launch:
    """``launched(source, params, grid, threads, MACRO=value, …)`` runs a kernel with one struct of parameters.

    Returns -1, or the index of the first block that hangs.
    """

    def launch(source: str, params: Any, grid: int, threads: int, cluster: int = 1, **macros: str | int) -> int:
        library = emulated("kernel.cpp", SOURCE=f'"sage2/{source}"', ENTRY="entry", **macros)
        library.launch.restype = ctypes.c_longlong
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(params))
        return int(library.launch(arguments, grid, threads, cluster))

    return launch


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
