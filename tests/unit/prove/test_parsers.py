"""The parsers against images of known origin, and against an independent reader of ELF."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from buildtool.prove.ar import read_ar
from buildtool.prove.archive import read_archive
from buildtool.prove.cubin import read_cubin
from buildtool.prove.elf import SHT_SYMTAB, Elf
from buildtool.prove.library import read_library
from buildtool.prove.reader import MalformedError
from buildtool.prove.rules.device import can_target
from buildtool.prove.symbols import decode_index, index_of
from tests.unit.prove import synthetic as s

IMAGES = sorted(s.CUBINS.glob("*.cubin"))


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_a_cubin_says_what_it_was_compiled_for(path: Path) -> None:
    match = re.fullmatch(r"(\w+)\.(sm_\w+)\.cu(\d+)(\d)\.cubin", path.name)
    assert match is not None
    cubin = read_cubin(path.read_bytes())
    assert (cubin.arch, cubin.toolkit) == (match[2], f"{match[3]}.{match[4]}")
    entries = {"pair": {"tiny_d64", "another"}, "call": {"tiny_d64"}}
    assert {kernel.name for kernel in cubin.kernels} == entries.get(match[1], {match[1]})
    assert cubin.contradiction == ""
    assert cubin.undefined == (("elsewhere",) if match[1] == "call" else ())
    assert bool(cubin.debug_sections) == (match[1] == "lines")


def test_a_cubins_resources() -> None:
    (tiny,) = read_cubin(s.cubin("tiny_d64", "sm_90a")).kernels
    assert (tiny.registers, tiny.stack, tiny.shared, tiny.local_loads, tiny.local_stores) == (10, 0, 256 + 1024, 0, 0)
    (spill,) = read_cubin(s.cubin("spill", "sm_80")).kernels
    assert spill.stack == 128
    assert spill.local_loads > 0
    assert spill.local_stores > 0


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_sections_and_symbols_agree_with_pyelftools(path: Path) -> None:
    data = path.read_bytes()
    ours, theirs = Elf(data), ELFFile(io.BytesIO(data))
    assert [section.name for section in ours.sections] == [section.name for section in theirs.iter_sections()]
    table = next(section for section in theirs.iter_sections() if isinstance(section, SymbolTableSection))
    assert [(symbol.name, symbol.value, symbol.size) for symbol in ours.symbols(SHT_SYMTAB)] == [
        (symbol.name, symbol["st_value"], symbol["st_size"]) for symbol in table.iter_symbols()
    ]


def test_a_library() -> None:
    library = read_library(s.LibrarySpec(dynamic=((14, "libsageattention.so"),)).build())
    assert library.machine == "x86_64"
    assert library.soname == "libsageattention.so"
    assert library.needed == s.LibrarySpec().needed
    assert {u.name: u.version for u in library.undefined if u.version} == {
        "memcpy": "GLIBC_2.14",
        "_ZSt4cerr": "GLIBCXX_3.4",
        "__gxx_personality_v0": "CXXABI_1.3",
    }
    assert [u.name for u in library.undefined if u.weak] == ["__gmon_start__"]
    assert ("libc.so.6", "GLIBC_2.14") in library.versions


def test_ar_with_long_and_short_names() -> None:
    members = [("a.cubin", b"one"), ("a_rather_long_instance_name_d128.cubin", b"four"), ("b.cubin", b"")]
    read = read_ar(s.ar(members))
    assert [(member.name, member.data) for member in read] == members
    assert [member.timestamp for member in read] == [0, 0, 0]


@pytest.mark.parametrize("junk", [b"", b"!<arch>", b"!<arch>\nxx", b"!<arch>\n" + b" " * 60, b"\x7fELF" + bytes(60)])
def test_ar_refuses_junk(junk: bytes) -> None:
    with pytest.raises(MalformedError):
        read_ar(junk)


def test_a_member_larger_than_it_claims() -> None:
    data = s.wheel().build()
    archive = read_archive(data)
    assert archive.unreadable == ()
    assert archive.prefix == archive.suffix == 0
    assert archive.members[-1].name.endswith("RECORD")


def test_a_symbol_index_survives_encoding() -> None:
    index = index_of("2.8.0", "key", ["_ZN2at4addE", "_ZN2at3subE"])
    again = decode_index(index.encode())
    assert again == index
    assert "_ZN2at4addE" in again
    assert again.missing(["_ZN2at3subE", "_ZN2at3mulE"]) == ("_ZN2at3mulE",)


@pytest.mark.parametrize(
    ("cuda", "arch", "able"),
    [
        ("12.4", "sm_90a", True), ("12.4", "sm_120a", False), ("12.8", "sm_120a", True), ("12.8", "sm_120f", False),
        ("12.9", "sm_120f", True), ("12.8", "sm_121a", False), ("12.9", "sm_121a", True), ("13.0", "sm_101a", False),
        ("12.8", "sm_110", False), ("13.0", "sm_110", True), ("12.8", "sm_80a", False), ("13.0", "sm_90f", False),
        ("13.0", "compute_90", False),
    ],
)  # fmt: skip
def test_what_a_cuda_version_can_target(cuda: str, arch: str, *, able: bool) -> None:
    assert can_target(cuda, arch) is able
