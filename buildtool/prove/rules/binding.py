"""The host library: what it links, what it asks of torch and of the C library, what it should not carry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from buildtool.plan.cells import Cell
from buildtool.prove.facts import NATIVE, Facts
from buildtool.prove.findings import Finding
from buildtool.prove.library import Library
from buildtool.prove.rules import Expectation

TORCH_LIBRARIES = frozenset({"libc10.so", "libc10_cuda.so", "libtorch.so", "libtorch_cpu.so", "libtorch_cuda.so"})
SYSTEM_LIBRARIES = frozenset(
    {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1",
     "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
)  # fmt: skip
_CUDA = re.compile(r"lib(cuda|cudart|nvrtc|nvJitLink|cublas|cudnn)\b|libcuda")
_PYTHON = re.compile(r"libpython|libtorch_python")
_PYTHON_SYMBOL = re.compile(r"_?Py[A-Z_]")

# Highest symbol versions of each glibc baseline, as the manylinux policies of auditwheel 6 list them for x86_64.
CEILINGS: dict[tuple[int, int], dict[str, tuple[int, ...]]] = {
    (2, 17): {"GLIBCXX": (3, 4, 19), "CXXABI": (1, 3, 7), "GCC": (4, 8, 0)},
    (2, 28): {"GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11), "GCC": (7, 0, 0)},
    (2, 31): {"GLIBCXX": (3, 4, 28), "CXXABI": (1, 3, 12), "GCC": (7, 0, 0)},
    (2, 34): {"GLIBCXX": (3, 4, 29), "CXXABI": (1, 3, 13), "GCC": (11, 0)},
    (2, 35): {"GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)},
    (2, 39): {"GLIBCXX": (3, 4, 33), "CXXABI": (1, 3, 15), "GCC": (14, 0, 0)},
}
_CODES = {"GLIBC": "library.glibc", "GLIBCXX": "library.glibcxx", "CXXABI": "library.cxxabi", "GCC": "library.gcc"}
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
_SYMBOL_VERSION = re.compile(r"(GLIBC|GLIBCXX|CXXABI|GCC)_([0-9.]+)\Z")


def check_binding(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Every rule that needs the ELF library; a wheel for Windows has none and is judged by its own rules."""
    cell = expected.cell
    if facts.archive is None or "win" in cell.combo.platform:
        return
    path = f"{cell.combo.package}/{NATIVE}lib{cell.combo.package}.so"
    if path not in facts.libraries:
        yield Finding("library.missing", path, "the binding", ", ".join(facts.libraries) or "no library")
    for name, library in facts.libraries.items():
        if library is None:
            yield Finding("library.malformed", name, "an ELF shared library", f"a file that {facts.problems[name]}")
            continue
        yield from _check_form(name, library, cell)
        yield from _check_needed(name, library)
        yield from _check_versions(name, library, cell.combo.platform)
        yield from _check_symbols(name, library, expected)


def _check_form(name: str, library: Library, cell: Cell) -> Iterator[Finding]:
    if not cell.combo.platform.endswith(library.machine):
        yield Finding("library.machine", name, cell.combo.platform, library.machine)
    if not library.shared:
        yield Finding("library.kind", name, "a shared object", "another kind of ELF file")
    if library.run_paths:
        yield Finding("library.run-path", name, "no RPATH or RUNPATH", ":".join(library.run_paths))
    if library.executable_stack:
        yield Finding("library.executable-stack", name, "a stack without execute permission", "an executable stack")
    if library.text_relocations:
        yield Finding("library.text-relocations", name, "position-independent code", "relocations in code")
    if library.debug_sections:
        yield Finding("library.debug", name, "no debug sections", ", ".join(library.debug_sections))
    if library.build_paths:
        yield Finding("library.build-path", name, "no paths of the build machine", library.build_paths[0])


def _check_needed(name: str, library: Library) -> Iterator[Finding]:
    for needed in library.needed:
        if needed in TORCH_LIBRARIES or needed in SYSTEM_LIBRARIES:
            continue
        code = "library.needed"
        if _CUDA.match(needed):
            code = "library.cuda-runtime"
        elif _PYTHON.match(needed):
            code = "library.python"
        yield Finding(code, name, "torch's libraries and the C and C++ runtimes", needed)


def _check_versions(name: str, library: Library, platform: str) -> Iterator[Finding]:
    claim = _MANYLINUX.match(platform)
    if claim is None:  # linux_x86_64 promises nothing about other systems
        return
    glibc = int(claim[1]), int(claim[2])
    base = max((known for known in CEILINGS if known <= glibc), default=min(CEILINGS))
    ceilings = {"GLIBC": glibc, **CEILINGS[base]}
    highest: dict[str, tuple[int, ...]] = {}
    for _, version in library.versions:
        if match := _SYMBOL_VERSION.match(version):
            number = tuple(int(part) for part in match[2].split(".") if part)
            highest[match[1]] = max(highest.get(match[1], ()), number)
    for family, number in sorted(highest.items()):
        if number > ceilings[family]:
            wanted, seen = (f"{family}_{'.'.join(map(str, n))}" for n in (ceilings[family], number))
            yield Finding(_CODES[family], name, f"at most {wanted} for {platform}", seen)


def _check_symbols(name: str, library: Library, expected: Expectation) -> Iterator[Finding]:
    wanted = torch_symbols(library)
    for symbol in sorted(wanted):
        if _PYTHON_SYMBOL.match(symbol):
            yield Finding("library.python", f"{name}: {symbol}", "no call into Python", symbol)
    abi = _cxx11_abi(wanted)
    if abi is not None and abi != expected.cell.cxx11_abi:
        spell = {True: "the C++11 ABI", False: "the ABI before C++11"}
        yield Finding("library.cxx11-abi", name, f"{spell[expected.cell.cxx11_abi]} of this torch build", spell[abi])
    if expected.symbols is None:
        seen = f"{len(wanted)} symbols that were compared with nothing"
        yield Finding("library.unchecked", name, f"the libraries of torch {expected.cell.combo.torch}", seen)
        return
    for symbol in expected.symbols.missing(s for s in wanted if not _PYTHON_SYMBOL.match(s)):
        yield Finding("library.undefined", name, f"a symbol of torch {expected.symbols.torch}", symbol)


def torch_symbols(library: Library) -> frozenset[str]:
    """The undefined symbols that torch has to supply: strong ones without a version of the C or C++ runtime."""
    return frozenset(s.name for s in library.undefined if not s.weak and not s.version)


def _cxx11_abi(names: frozenset[str]) -> bool | None:
    """Whether torch's symbols are asked for with C++11 strings; None if no symbol has a string in it."""
    if any("__cxx11" in name or "B5cxx11" in name for name in names):
        return True
    # ``Ss`` is std::string before C++11 in the Itanium ABI's mangling; here as an argument or a template argument.
    return False if any(re.search(r"(?:RK|R|E|v|_|j)Ss(?:[A-Z_i-mEj]|$)", name) for name in names) else None
