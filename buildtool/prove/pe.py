"""Windows libraries (PE32+), read without trusting any offset. Source of the layout: Microsoft, "PE Format"."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from buildtool.prove.reader import MAX_NAME, Buffer, MalformedError, piece, unpack

_COFF, _SECTION, _IMPORT, _U32, _U64 = (struct.Struct(f) for f in ("<HHIIIHH", "<8sIIIIIIHHI", "<IIIII", "<I", "<Q"))
_EXPORT, _DEBUG = struct.Struct("<IIHHIIIIIII"), struct.Struct("<IIHHIIII")
_PE32_PLUS = 0x20B
_IS_DLL = 0x2000
_ASLR, _NX, _HIGH_ENTROPY = 0x40, 0x100, 0x20
_MACHINES = {0x8664: "amd64", 0xAA64: "arm64"}
_EXPORTS, _IMPORTS, _DEBUG_DIRECTORY, _DELAYED = 0, 1, 6, 13
_CODEVIEW = 2
_BY_ORDINAL = 1 << 63
_MAX_ENTRIES = 1 << 20


@dataclass(frozen=True)
class Dll:
    """Facts of one Windows library."""

    machine: str
    is_dll: bool
    hardened: bool
    """Address space layout randomization with high entropy, and no execution of data."""
    imports: tuple[tuple[str, str], ...]
    """(library in lower case, symbol); the symbol is empty for an import by ordinal."""
    exports: frozenset[str]
    debug_path: str
    """Where the linker said the symbols are, empty if it did not."""

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(library for library, _ in self.imports))


def read_dll(data: Buffer) -> Dll:
    """Parse a DLL. Raises MalformedError."""
    if data[:2] != b"MZ":
        raise MalformedError("does not start with MZ")
    (start,) = unpack(_U32, data, 60, "the offset of the PE header")
    if piece(data, start, 4, "the PE signature") != b"PE\0\0":
        raise MalformedError("has no PE signature")
    machine, sections, _, _, _, optional_size, characteristics = unpack(_COFF, data, start + 4, "the COFF header")
    optional = start + 4 + _COFF.size
    if piece(data, optional, 2, "the optional header") != struct.pack("<H", _PE32_PLUS):
        raise MalformedError("is not a 64-bit image")
    (flags,) = struct.unpack("<H", piece(data, optional + 70, 2, "the DLL characteristics"))
    image = _Image(data, optional, optional + optional_size, sections)
    hardening = _ASLR | _NX | _HIGH_ENTROPY
    return Dll(
        machine=_MACHINES.get(machine, f"machine {machine:#x}"),
        is_dll=bool(characteristics & _IS_DLL),
        hardened=flags & hardening == hardening,
        imports=tuple(image.imports()),
        exports=frozenset(image.exports()),
        debug_path=image.debug_path(),
    )


class _Image:
    """Translates addresses of the loaded image into file offsets."""

    def __init__(self, data: Buffer, optional: int, table: int, count: int) -> None:
        self.data = data
        rows = [unpack(_SECTION, data, table + i * _SECTION.size, "a section header") for i in range(count)]
        self.sections = [(row[2], row[3], row[4]) for row in rows]  # address, bytes in the file, offset
        (directories,) = unpack(_U32, data, optional + 108, "the number of directories")
        self.directories = [
            struct.unpack("<II", piece(data, optional + 112 + 8 * i, 8, "a directory"))
            for i in range(min(directories, 16))
        ]

    def directory(self, index: int) -> tuple[int, int]:
        return self.directories[index] if index < len(self.directories) else (0, 0)

    def offset(self, address: int, what: str) -> int:
        for start, size, offset in self.sections:
            if start <= address < start + size:
                return int(offset + address - start)
        raise MalformedError(f"{what} lies in no section")

    def text(self, address: int, what: str) -> str:
        start = self.offset(address, what)
        raw = self.data[start : start + MAX_NAME]
        end = raw.find(b"\0")
        if end < 0:
            raise MalformedError(f"{what} has no end")
        return raw[:end].decode("utf-8", "replace")

    def imports(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        address, size = self.directory(_IMPORTS)
        if address:
            at = self.offset(address, "the import table")
            for number in range(size // _IMPORT.size + 1):
                names, _, _, library, table = unpack(_IMPORT, self.data, at + number * _IMPORT.size, "an import")
                if not library:
                    break
                found += self._functions(self.text(library, "the name of a library").lower(), names or table)
        address, _ = self.directory(_DELAYED)
        if address:
            layout = struct.Struct("<8I")
            at = self.offset(address, "the table of delayed imports")
            for number in range(_MAX_ENTRIES):
                row = unpack(layout, self.data, at + number * layout.size, "a delayed import")
                if not row[1]:
                    break
                found += self._functions(self.text(row[1], "the name of a library").lower(), row[4])
        return found

    def _functions(self, library: str, table: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        at = self.offset(table, f"the imports from {library}")
        for number in range(_MAX_ENTRIES):
            (entry,) = unpack(_U64, self.data, at + 8 * number, "an imported symbol")
            if not entry:
                break
            name = "" if entry & _BY_ORDINAL else self.text(entry + 2, "the name of an imported symbol")
            found.append((library, name))
        return found or [(library, "")]

    def exports(self) -> list[str]:
        address, _ = self.directory(_EXPORTS)
        if not address:
            return []
        row = unpack(_EXPORT, self.data, self.offset(address, "the export table"), "the export table")
        count, names = row[7], row[9]
        if count > _MAX_ENTRIES:
            raise MalformedError(f"claims {count} exports")
        if not count:
            return []
        table = piece(self.data, self.offset(names, "the export names"), 4 * count, "the export names")
        return [self.text(name, "the name of an export") for (name,) in _U32.iter_unpack(table)]

    def debug_path(self) -> str:
        address, size = self.directory(_DEBUG_DIRECTORY)
        if not address:
            return ""
        at = self.offset(address, "the debug directory")
        for number in range(size // _DEBUG.size):
            row = unpack(_DEBUG, self.data, at + number * _DEBUG.size, "a debug entry")
            if row[4] == _CODEVIEW:
                content = piece(self.data, row[7], row[5], "the CodeView record")
                return content[24:].split(b"\0")[0].decode("utf-8", "replace")
        return ""
