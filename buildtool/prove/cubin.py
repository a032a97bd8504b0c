"""What a cubin is: its exact architecture, the CUDA version that made it, its kernels and what they use.

There is no published specification. Everything read here was established by comparing images that NVRTC and ptxas of
CUDA 12.8, 12.9, 13.0 and 13.2 make of known sources with what ``cuobjdump`` and ``nvdisasm`` say of them. Two layouts
exist, told apart by the ELF header's ABI version: 7 (CUDA 12.x for sm_90 and below) and 8 (the rest).
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from buildtool.prove.elf import SHN_UNDEF, SHT_SYMTAB, STB_GLOBAL, STT_FUNC, Elf, Section, Symbol
from buildtool.prove.reader import MalformedError, unpack

EM_CUDA = 190
_ABI_V7, _ABI_V8 = 7, 8
_V7_SUFFIX, _V8_SUFFIX = 0x800, 0x8
_V8_TOOLKITS_WITH_SUFFIX_BIT = ("12.8", "12.9")
_COMPAT_ARCH_SPECIFIC = 0x09
_ENTRY = 0x10
"""Bit of ``st_other`` that marks a function as a kernel."""
_REGISTERS, _FRAME, _MIN_STACK = 0x2F, 0x11, 0x12
_HEAD, _PAIR, _U16 = struct.Struct("<BBH"), struct.Struct("<II"), struct.Struct("<H")
_NOTE = struct.Struct("<III")
_INSTRUCTION = 16
_LOAD_LOCAL, _STORE_LOCAL = (0x983,), (0x387, 0x987)
_OPCODE = 0xFFF

_UNWIND = ".debug_frame"
"""Every image has it, optimized or not."""

_TK_ARCH = re.compile(r"-arch[ =]+sm_(\d+[af]?)(?![0-9a-z])")
_TK_RELEASE = re.compile(r"release (\d+)\.(\d+)")


@dataclass(frozen=True)
class Kernel:
    """One ``__global__`` function and what it uses. Bytes are per thread except ``shared``, which is per block."""

    name: str
    registers: int
    stack: int
    """Frame of local memory: spilled registers and local arrays together."""
    shared: int
    """Static shared memory; from sm_90 it includes 1024 bytes that the system reserves."""
    local_loads: int
    local_stores: int
    code: int
    """Bytes of machine code."""


@dataclass(frozen=True)
class Cubin:
    """One device image."""

    sm: int
    suffix: str
    """``a``, ``f`` or nothing. ``f`` and nothing run the same images but promise different things."""
    toolkit: str
    """CUDA major.minor of the assembler, empty where the image does not say."""
    kernels: tuple[Kernel, ...]
    undefined: tuple[str, ...]
    debug_sections: tuple[str, ...]
    contradiction: str = ""
    """Set where two marks in the image disagree about its architecture."""

    @property
    def arch(self) -> str:
        """E.g. ``sm_90a``."""
        return f"sm_{self.sm}{self.suffix}"


def read_cubin(data: bytes) -> Cubin:
    """Parse a device image. Raises MalformedError."""
    elf = Elf(data)
    if elf.machine != EM_CUDA:
        raise MalformedError(f"is for ELF machine {elf.machine}, not {EM_CUDA} (CUDA)")
    if elf.abi_version not in (_ABI_V7, _ABI_V8):
        raise MalformedError(f"has cubin ABI version {elf.abi_version}; {_ABI_V7} and {_ABI_V8} are known")
    note = _tool_note(elf)
    toolkit = _toolkit(elf, note)
    sm = elf.flags & 0xFF if elf.abi_version == _ABI_V7 else elf.flags >> 8 & 0xFF
    suffix, contradiction = _suffix(elf, sm, note, toolkit)
    symbols = elf.symbols(SHT_SYMTAB)
    return Cubin(
        sm=sm,
        suffix=suffix,
        toolkit=toolkit,
        kernels=tuple(_kernels(elf, symbols)),
        undefined=tuple(
            sorted(s.name for s in symbols[1:] if s.section == SHN_UNDEF and s.name and s.bind == STB_GLOBAL)
        ),
        debug_sections=tuple(
            s.name for s in elf.sections if s.name.startswith((".debug_", ".nv_debug_")) and s.name != _UNWIND
        ),
        contradiction=contradiction,
    )


def _tool_note(elf: Elf) -> str:
    """The text of ``.note.nv.tkinfo``: tool, release and command line of the assembler."""
    section = elf.section(".note.nv.tkinfo")
    return elf.content(section).decode("latin-1").replace("\0", "\n") if section else ""


def _toolkit(elf: Elf, note: str) -> str:
    if elf.abi_version == _ABI_V7:
        return f"{elf.version // 10}.{elf.version % 10}"
    if found := _TK_RELEASE.search(note):
        return f"{found[1]}.{found[2]}"
    if section := elf.section(".note.nv.cuinfo"):
        (number,) = unpack(_U16, elf.content(section), 28, "the CUDA version note")
        return f"{number // 10}.{number % 10}"
    return ""


def _suffix(elf: Elf, sm: int, note: str, toolkit: str) -> tuple[str, str]:
    """(suffix, contradiction). Three marks say 'a', only the assembler's command line says 'f'."""
    marks: dict[str, bool] = {}
    if elf.abi_version == _ABI_V7:
        marks["e_flags"] = bool(elf.flags & _V7_SUFFIX)
    elif toolkit in _V8_TOOLKITS_WITH_SUFFIX_BIT:
        marks["e_flags"] = bool(elf.flags & _V8_SUFFIX)
    compat = dict(_records(elf, ".nv.compat"))
    if _COMPAT_ARCH_SPECIFIC in compat:
        marks[".nv.compat"] = compat[_COMPAT_ARCH_SPECIFIC][:1] == b"\1"
    named = _TK_ARCH.search(note)
    if named:
        if named[1].rstrip("af") != str(sm):
            return "", f"e_flags say sm_{sm}, the assembler's command line says sm_{named[1]}"
        marks["the assembler's command line"] = named[1].endswith("a")
    if len(set(marks.values())) > 1:
        says = "; ".join(f"{mark}: {'a' if value else 'not a'}" for mark, value in marks.items())
        return "a" if any(marks.values()) else "", says
    if any(marks.values()):
        return "a", ""
    return ("f" if named and named[1].endswith("f") else ""), ""


def _records(elf: Elf, section_name: str) -> Iterator[tuple[int, bytes]]:
    """(attribute, payload) of a section in the record format of ``.nv.info``."""
    section = elf.section(section_name)
    if section is None:
        return
    data = elf.content(section)
    at = 0
    while at + _HEAD.size <= len(data):
        layout, attribute, short = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        if layout == 4:  # noqa: PLR2004  (sized value; the other layouts carry it in the head)
            if at + short > len(data):
                raise MalformedError(f"section {section_name} has a record that runs past its end")
            yield attribute, data[at : at + short]
            at += short
        elif layout in {1, 2, 3}:
            yield attribute, _U16.pack(short)
        else:
            raise MalformedError(f"section {section_name} has a record of unknown layout {layout}")


def _kernels(elf: Elf, symbols: tuple[Symbol, ...]) -> Iterator[Kernel]:
    numbers: dict[int, dict[int, int]] = {_REGISTERS: {}, _FRAME: {}, _MIN_STACK: {}}
    for attribute, payload in _records(elf, ".nv.info"):
        if attribute in numbers:
            index, value = unpack(_PAIR, payload, 0, "a resource record")
            numbers[attribute][index] = value
    sizes = {section.name: section for section in elf.sections}
    for index, symbol in enumerate(symbols):
        if symbol.kind != STT_FUNC or not symbol.other & _ENTRY or symbol.section == SHN_UNDEF:
            continue
        code = _code(elf, symbol)
        opcodes = _opcodes(code)
        shared = sizes.get(f".nv.shared.{symbol.name}")
        yield Kernel(
            name=symbol.name,
            registers=numbers[_REGISTERS].get(index, 0),
            stack=max(numbers[_FRAME].get(index, 0), numbers[_MIN_STACK].get(index, 0)),
            shared=shared.size if shared else 0,
            local_loads=sum(opcodes[opcode] for opcode in _LOAD_LOCAL),
            local_stores=sum(opcodes[opcode] for opcode in _STORE_LOCAL),
            code=len(code),
        )


def _code(elf: Elf, symbol: Symbol) -> bytes:
    if symbol.section >= len(elf.sections):
        raise MalformedError(f"kernel {symbol.name} is in a section that does not exist")
    section: Section = elf.sections[symbol.section]
    return elf.content(section)[symbol.value : symbol.value + symbol.size]


def _opcodes(code: bytes) -> Counter[int]:
    """How often each opcode (low 12 bits of each 16-byte instruction) occurs."""
    words = memoryview(code[: len(code) - len(code) % _INSTRUCTION]).cast("H")[:: _INSTRUCTION // 2].tolist()
    return Counter(word & _OPCODE for word in words)
