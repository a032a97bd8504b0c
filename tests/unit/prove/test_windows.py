"""Windows wheels: good ones, and every way to break the library."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.prove.pe import read_dll
from buildtool.prove.reader import MalformedError
from buildtool.prove.symbols import SymbolIndex, index_of
from buildtool.prove.verify import Report, verify_bytes
from tests.unit.prove import synthetic as s
from tests.unit.prove.synthetic_pe import DllSpec
from tests.unit.prove.test_fuzz import damaged

DLL = "sageattention/_native/sageattention.dll"
GOOD = DllSpec().build()
SYMBOLS = index_of("2.8.0", "key", ["??0Error@c10@@QEAA@XZ", "?empty@at@@YAXXZ"])


def judge(dll: bytes | None, symbols: SymbolIndex | None = SYMBOLS) -> Report:
    wheel = s.wheel("win_amd64")
    wheel.dropped.add(s.LIBRARY)
    if dll is not None:
        wheel.raw[DLL] = dll
    return verify_bytes(wheel.filename, wheel.build(), wheel.cell, s.INSTANCES, symbols=symbols)


def linked(library: str, symbol: str = "f") -> Callable[[], bytes]:
    return DllSpec(imports={**DllSpec().imports, library: [symbol]}).build


def spec(**values: Any) -> Callable[[], bytes]:
    return DllSpec(**values).build


BROKEN: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "no library": (lambda: None, "dll.missing"),
    "text": (lambda: b"MZ?", "dll.malformed"),
    "cut off": (lambda: GOOD[: len(GOOD) - 200], "dll.malformed"),
    "an ELF library": (lambda: s.LibrarySpec().build(), "dll.malformed"),
    "for Arm": (spec(machine=0xAA64), "dll.machine"),
    "a program": (spec(characteristics=0x22), "dll.kind"),
    "no ASLR": (spec(flags=0x100), "dll.hardening"),
    "a path in the debug record": (spec(debug_path="C:\\a\\build\\sageattention.pdb"), "dll.debug-path"),
    "a build path": (spec(extra=b"\0/home/builder/binding.cpp\0"), "dll.build-path"),
    "the CUDA runtime": (linked("cudart64_12.dll"), "dll.cuda-runtime"),
    "the driver": (linked("nvcuda.dll"), "dll.cuda-runtime"),
    "Python": (linked("python312.dll"), "dll.python"),
    "torch_python": (linked("torch_python.dll"), "dll.python"),
    "the debug runtime": (linked("MSVCP140D.dll"), "dll.debug-runtime"),
    "a stranger": (linked("zlib.dll"), "dll.needed"),
    "an undefined symbol": (linked("torch_cpu.dll", "?gone@at@@YAXXZ"), "dll.undefined"),
}


def test_a_good_windows_wheel() -> None:
    assert judge(GOOD).findings == ()
    assert [(f.code, f.level) for f in judge(GOOD, None).findings] == [("dll.unchecked", "note")]


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_windows_wheel(case: str) -> None:
    make, code = BROKEN[case]
    report = judge(make())
    assert [finding.code for finding in report.findings] == [code], "\n".join(map(str, report.findings))
    assert not report.ok


def test_what_is_read() -> None:
    dll = read_dll(DllSpec(exports=("PyInit_x", "init")).build())
    assert dll.exports == {"PyInit_x", "init"}
    assert ("kernel32.dll", "LoadLibraryA") in dll.imports
    assert dll.debug_path == "sageattention.pdb"


@settings(max_examples=300, deadline=2000)
@given(data=damaged((GOOD, DllSpec(exports=("a", "b")).build())))
def test_damage_is_malformed_or_read(data: bytes) -> None:
    with suppress(MalformedError):
        read_dll(data)


@given(junk=st.binary(max_size=300))
def test_junk_is_malformed(junk: bytes) -> None:
    with suppress(MalformedError):
        read_dll(b"MZ" + junk)
