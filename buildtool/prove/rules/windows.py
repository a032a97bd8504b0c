"""The binding of a Windows wheel: what it links, what it asks of torch, what it should not carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildtool.prove.facts import NATIVE, Facts
from buildtool.prove.findings import Finding
from buildtool.prove.library import build_paths
from buildtool.prove.pe import Dll
from buildtool.prove.rules import Expectation

TORCH_DLLS = frozenset({"c10.dll", "c10_cuda.dll", "torch.dll", "torch_cpu.dll", "torch_cuda.dll"})
_IN_EVERY_BUILD = frozenset({"c10.dll", "torch.dll", "torch_cpu.dll"})
"""PyPI's torch for Windows is a build without CUDA: what the others export cannot be compared with it."""
_SYSTEM = re.compile(
    r"(kernel32|ucrtbase|msvcp140(_\w+)?|vcruntime140(_1)?|concrt140|api-ms-win-crt-[a-z0-9-]+)\.dll\Z"
)
_DEBUG_RUNTIME = re.compile(r"(msvcp140|vcruntime140(_1)?|ucrtbase|concrt140)d\.dll\Z")
_CUDA = re.compile(r"(cudart|nvcuda|nvrtc|cublas|cudnn)")
_PYTHON = re.compile(r"(python\d|torch_python)")
_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]|[\\/]{2}|/")


def check_dll(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Every rule that needs the PE library; a wheel for another system is judged by its own rules."""
    cell = expected.cell
    if facts.archive is None or not cell.combo.platform.startswith("win"):
        return
    path = f"{cell.combo.package}/{NATIVE}{cell.combo.package}.dll"
    if path not in facts.dlls:
        yield Finding("dll.missing", path, "the binding", ", ".join(facts.dlls) or "no library")
    for name, dll in facts.dlls.items():
        if dll is None:
            yield Finding("dll.malformed", name, "a 64-bit Windows library", f"a file that {facts.problems[name]}")
            continue
        if not cell.combo.platform.endswith(dll.machine):
            yield Finding("dll.machine", name, cell.combo.platform, dll.machine)
        if not dll.is_dll:
            yield Finding("dll.kind", name, "a DLL", "another kind of image")
        if not dll.hardened:
            yield Finding("dll.hardening", name, "ASLR with high entropy, and NX", "not both")
        if _ABSOLUTE.match(dll.debug_path):
            yield Finding("dll.debug-path", name, "a bare file name", dll.debug_path)
        if paths := build_paths(facts.contents[name]):
            yield Finding("dll.build-path", name, "no paths of the build machine", paths[0])
        yield from _check_needed(name, dll)
        yield from _check_symbols(name, dll, expected)


def _check_needed(name: str, dll: Dll) -> Iterator[Finding]:
    for needed in dll.needed:
        if needed in TORCH_DLLS or _SYSTEM.match(needed):
            continue
        code = "dll.needed"
        if _DEBUG_RUNTIME.match(needed):
            code = "dll.debug-runtime"
        elif _CUDA.match(needed):
            code = "dll.cuda-runtime"
        elif _PYTHON.match(needed):
            code = "dll.python"
        yield Finding(code, name, "torch's libraries and the Visual C++ runtime", needed)


def _check_symbols(name: str, dll: Dll, expected: Expectation) -> Iterator[Finding]:
    wanted = {symbol for library, symbol in dll.imports if library in _IN_EVERY_BUILD and symbol}
    if expected.symbols is None:
        seen = f"{len(wanted)} symbols that were compared with nothing"
        yield Finding("dll.unchecked", name, f"the libraries of torch {expected.cell.combo.torch}", seen)
        return
    for symbol in expected.symbols.missing(wanted):
        yield Finding("dll.undefined", name, f"a symbol of torch {expected.symbols.torch}", symbol)
