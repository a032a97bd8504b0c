"""ELF64 little-endian images, host libraries and cubins alike, read without trusting any offset.

Source of the layout: System V ABI (gABI) chapters 4 and 5; symbol versions: the Linux Standard Base, chapter 10.7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

from buildtool.prove.reader import Buffer, MalformedError, cstring, piece, unpack

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC = struct.Struct("<qQ")
_VERNEED = struct.Struct("<HHIII")
_VERNAUX = struct.Struct("<IHHII")

SHT_SYMTAB, SHT_NOBITS, SHT_DYNAMIC, SHT_DYNSYM = 2, 8, 6, 11
SHT_GNU_VERNEED, SHT_GNU_VERSYM = 0x6FFFFFFE, 0x6FFFFFFF
PT_GNU_STACK, PF_X = 0x6474E551, 1
DT_NEEDED, DT_SONAME, DT_RPATH, DT_TEXTREL, DT_FLAGS, DT_RUNPATH = 1, 14, 15, 22, 30, 29
DF_TEXTREL = 4
ET_DYN, STT_FUNC, STB_GLOBAL, STB_WEAK, SHN_UNDEF = 3, 2, 1, 2, 0
MACHINES = {62: "x86_64", 183: "aarch64", 190: "cuda"}

_NAME_BUDGET = 64
"""Names may share bytes of the string table, but not so often that reading them all takes for ever."""


@dataclass(frozen=True)
class Section:
    """One section header, its name resolved."""

    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int


@dataclass(frozen=True)
class Symbol:
    """One row of a symbol table. ``section`` 0 means undefined here."""

    name: str
    kind: int
    bind: int
    other: int
    section: int
    value: int
    size: int
    version: str = ""
    """Version that an undefined symbol asks for, e.g. ``GLIBC_2.34``; empty if it asks for none."""
    library: str = ""


class Elf:
    """A parsed image. Raises MalformedError from the constructor or from the property that meets the damage."""

    def __init__(self, data: Buffer) -> None:
        self.data = data
        (
            ident,
            self.type,
            self.machine,
            self.version,
            _,
            phoff,
            shoff,
            self.flags,
            _,
            phsize,
            phnum,
            shsize,
            shnum,
            shstr,
        ) = _HEADER.unpack(piece(data, 0, _HEADER.size, "the ELF header"))
        if ident[:4] != b"\x7fELF":
            raise MalformedError("does not start with \\x7fELF")
        if ident[4] != 2 or ident[5] != 1:  # noqa: PLR2004  (ELFCLASS64, ELFDATA2LSB)
            raise MalformedError("is not a 64-bit little-endian ELF image")
        self.os_abi, self.abi_version = ident[7], ident[8]
        if shnum and shsize != _SECTION.size:
            raise MalformedError(f"has section headers of {shsize} bytes instead of {_SECTION.size}")
        if phnum and phsize != _SEGMENT.size:
            raise MalformedError(f"has program headers of {phsize} bytes instead of {_SEGMENT.size}")
        self.segments = tuple(
            unpack(_SEGMENT, data, phoff + i * _SEGMENT.size, "a program header") for i in range(phnum)
        )
        self.sections = self._sections(shoff, shnum, shstr)

    def _sections(self, start: int, count: int, names: int) -> tuple[Section, ...]:
        rows = [unpack(_SECTION, self.data, start + i * _SECTION.size, "a section header") for i in range(count)]
        if not rows:
            return ()
        if names >= len(rows):
            raise MalformedError("names a section for the section names that does not exist")
        table = piece(self.data, rows[names][4], rows[names][5], "the table of section names")
        return tuple(
            Section(cstring(table, row[0], "a section"), row[1], row[2], row[4], row[5], row[6], row[7]) for row in rows
        )

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def content(self, section: Section) -> bytes:
        """The section's bytes; none for a section that takes no space in the file."""
        if section.type == SHT_NOBITS:
            return b""
        return piece(self.data, section.offset, section.size, f"section {section.name}")

    def strings_of(self, section: Section) -> bytes:
        """The string table that ``section`` links to."""
        if not 0 < section.link < len(self.sections):
            raise MalformedError(f"section {section.name} links to no string table")
        return self.content(self.sections[section.link])

    def symbols(self, kind: int) -> tuple[Symbol, ...]:
        """The rows of the first symbol table of type ``kind`` (SHT_SYMTAB or SHT_DYNSYM), the null symbol included."""
        section = next((s for s in self.sections if s.type == kind), None)
        if section is None:
            return ()
        table, strings = self.content(section), self.strings_of(section)
        if len(table) % _SYMBOL.size:
            raise MalformedError(f"section {section.name} does not hold a whole number of symbols")
        versions = self._versions() if kind == SHT_DYNSYM else []
        budget = _NAME_BUDGET * len(strings) + (1 << 20)
        found: list[Symbol] = []
        for index, (name, info, other, shndx, value, size) in enumerate(_SYMBOL.iter_unpack(table)):
            text = cstring(strings, name, f"symbol {index}")
            budget -= len(text)
            if budget < 0:
                raise MalformedError("has symbol names that overlap beyond reason")
            version, library = versions[index] if index < len(versions) else ("", "")
            found.append(Symbol(text, info & 15, info >> 4, other, shndx, value, size, version, library))
        return tuple(found)

    def _versions(self) -> list[tuple[str, str]]:
        numbers = next((s for s in self.sections if s.type == SHT_GNU_VERSYM), None)
        if numbers is None:
            return []
        table = self.content(numbers)
        needed = {number: (version, library) for library, version, number in self.needed_versions}
        return [
            needed.get(number & 0x7FFF, ("", "")) for (number,) in struct.iter_unpack("<H", table[: len(table) & ~1])
        ]

    @cached_property
    def needed_versions(self) -> tuple[tuple[str, str, int], ...]:
        """(library, version, index) of every symbol version asked of another library."""
        section = next((s for s in self.sections if s.type == SHT_GNU_VERNEED), None)
        if section is None:
            return ()
        data, strings = self.content(section), self.strings_of(section)
        found: list[tuple[str, str, int]] = []
        at = 0
        while True:
            _, count, file, aux, following = unpack(_VERNEED, data, at, "a version record")
            library = cstring(strings, file, "a needed library")
            where = at + aux
            for _ in range(count):
                _, _, number, name, step = unpack(_VERNAUX, data, where, "a version record")
                found.append((library, cstring(strings, name, "a symbol version"), number))
                where += step
                if not step:
                    break
            if not following:
                return tuple(found)
            at += following
            if len(found) > len(data):
                raise MalformedError("has version records that do not end")

    @cached_property
    def dynamic(self) -> tuple[tuple[int, int], ...]:
        """(tag, value) rows of the dynamic section up to DT_NULL."""
        section = next((s for s in self.sections if s.type == SHT_DYNAMIC), None)
        if section is None:
            return ()
        rows: list[tuple[int, int]] = []
        data = self.content(section)
        for tag, value in _DYNAMIC.iter_unpack(data[: len(data) - len(data) % _DYNAMIC.size]):
            if tag == 0:
                break
            rows.append((tag, value))
        return tuple(rows)

    def dynamic_strings(self, tag: int) -> tuple[str, ...]:
        """The strings of every dynamic row with that tag, e.g. DT_NEEDED."""
        section = next((s for s in self.sections if s.type == SHT_DYNAMIC), None)
        if section is None:
            return ()
        strings = self.strings_of(section)
        return tuple(cstring(strings, value, "a dynamic entry") for found, value in self.dynamic if found == tag)
