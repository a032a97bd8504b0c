"""Stand-ins for the NVIDIA math libraries, so that the real torch imports without two gigabytes of its dependencies.

Importing torch loads ``libtorch_cuda.so``, whose dynamic section names cuBLAS, cuDNN, NCCL and others. Nothing of them
runs during an import, but the loader wants every library and every versioned symbol to exist. A stand-in has the
library's name and exactly the symbols torch's own libraries ask for; each returns an error code, so a call fails loudly
instead of computing anything. torch itself, its operators and the library under test are the real ones.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from buildtool.errors import ToolchainError

_VENDOR_LIBRARY = re.compile(r"lib(cu|nv|nccl)\w*\.so")
_VENDOR_SYMBOL = re.compile(r"(cu|nv|nccl)\w+\Z")
_UNVERSIONED = ""
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_SYMTAB, _DT_GNU_HASH = 1, 5, 6, 0x6FFFFEF5
_DT_VERSYM, _DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF


class Compiler(Protocol):
    """Links one shared library from assembler text. The port that ``build`` needs."""

    def __call__(self, source: Path, version_script: Path | None, soname: str, output: Path) -> None: ...


@dataclass(frozen=True)
class Imports:
    """What one shared library asks of others."""

    needed: tuple[str, ...]
    undefined: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Symbol → (library file, version); both empty when the reference is unversioned."""


def read_imports(path: Path) -> Imports:
    """The DT_NEEDED entries and undefined symbols of a 64-bit little-endian ELF shared library.

    Only the head of ``.dynsym`` is read: with a GNU hash table every undefined symbol stands before the first hashed
    one (gABI, DT_GNU_HASH ``symoffset``), which keeps a one-gigabyte library cheap.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _parse(data)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise ToolchainError(
                f"{path} is not a readable 64-bit ELF shared library ({error})",
                "remove the cached environment that holds it and run again",
            ) from error


def _parse(data: mmap.mmap) -> Imports:
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("bad ELF magic")
    phoff, phentsize, phnum = (
        struct.unpack_from("<Q", data, 32)[0],
        *struct.unpack_from("<HH", data, 54),
    )
    segments = [struct.unpack_from("<IIQQQQQQ", data, phoff + i * phentsize) for i in range(phnum)]
    loads = [(s[3], s[2], s[5]) for s in segments if s[0] == _PT_LOAD]

    def offset(address: int) -> int:
        for start, file_offset, size in loads:
            if start <= address < start + size:
                return int(address - start + file_offset)
        raise ValueError(f"address {address:#x} is in no segment")

    dynamic = next(s for s in segments if s[0] == _PT_DYNAMIC)
    tags: dict[int, int] = {}
    needed_offsets: list[int] = []
    for tag, value in struct.iter_unpack("<qQ", data[dynamic[2] : dynamic[2] + dynamic[5] // 16 * 16]):
        if tag == _DT_NEEDED:
            needed_offsets.append(value)
        tags.setdefault(tag, value)
    strings = offset(tags[_DT_STRTAB])

    def text(position: int) -> str:
        start = strings + position
        return data[start : data.find(b"\0", start)].decode("ascii")

    versions: dict[int, tuple[str, str]] = {}
    if _DT_VERNEED in tags:
        at = offset(tags[_DT_VERNEED])
        for _ in range(tags[_DT_VERNEEDNUM]):
            _, count, file_name, aux, following = struct.unpack_from("<HHIII", data, at)
            entry = at + aux
            for _ in range(count):
                _, _, index, name, next_entry = struct.unpack_from("<IHHII", data, entry)
                versions[index] = (text(file_name), text(name))
                entry += next_entry
            at += following
    symbols, versym = offset(tags[_DT_SYMTAB]), tags.get(_DT_VERSYM)
    first_hashed = struct.unpack_from("<I", data, offset(tags[_DT_GNU_HASH]) + 4)[0]
    undefined: dict[str, tuple[str, str]] = {}
    for i in range(1, first_hashed):
        name, _, _, section = struct.unpack_from("<IBBH", data, symbols + 24 * i)
        if section == 0:
            index = struct.unpack_from("<H", data, offset(versym) + 2 * i)[0] & 0x7FFF if versym else 0
            undefined[text(name)] = versions.get(index, (_UNVERSIONED, _UNVERSIONED))
    return Imports(tuple(text(position) for position in needed_offsets), undefined)


def plan(libraries: Mapping[str, Imports], present: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Which stand-ins are needed: library file → version → symbols (pure).

    ``libraries`` are torch's own, by file name; ``present`` are the files that can be loaded for real. An unversioned
    vendor symbol may come from any of the missing libraries, so it goes to the first one that the user of it names.
    """
    available = set(present) | set(libraries)
    wanted: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for imports in libraries.values():
        missing = [name for name in imports.needed if name not in available and _VENDOR_LIBRARY.match(name)]
        for name in missing:
            wanted[name][_UNVERSIONED].update(())
        for symbol, (file, version) in imports.undefined.items():
            if file:
                if file in missing:
                    wanted[file][version].add(symbol)
            elif missing and _VENDOR_SYMBOL.match(symbol):
                wanted[missing[0]][_UNVERSIONED].add(symbol)
    return {
        file: {version: sorted(symbols) for version, symbols in sorted(versions.items())}
        for file, versions in sorted(wanted.items())
    }


def assembler(symbols: Iterable[str], machine: str) -> str:
    """Assembler text in which every symbol is one function that returns 999 (CUDA's "unknown error")."""
    body = {"x86_64": "movl $999, %eax\nret", "aarch64": "mov w0, #999\nret"}[machine]
    lines = [".text"]
    for symbol in symbols:
        lines += [f".globl {symbol}", f".type {symbol}, %function", f"{symbol}:"]
    return "\n".join([*lines, body, '.section .note.GNU-stack,"",%progbits', ""])


def version_script(versions: Mapping[str, Iterable[str]]) -> str | None:
    """Linker version script for the versioned symbols, or None when there are none."""
    named = [(version, symbols) for version, symbols in versions.items() if version]
    if not named:
        return None
    return "".join(f"{version} {{ global: {' '.join(f'{s};' for s in symbols)} }};\n" for version, symbols in named)


def build(torch_lib: Path, present: Iterable[str], output: Path, compiler: Compiler, machine: str) -> tuple[Path, ...]:
    """Write a stand-in into ``output`` for every NVIDIA library that torch names and ``present`` lacks."""
    libraries = {path.name: read_imports(path) for path in sorted(torch_lib.glob("*.so*")) if path.is_file()}
    output.mkdir(parents=True, exist_ok=True)
    made = []
    for soname, versions in plan(libraries, present).items():
        source, script = output / f"{soname}.s", output / f"{soname}.map"
        source.write_text(assembler((s for symbols in versions.values() for s in symbols), machine))
        text = version_script(versions)
        if text is not None:
            script.write_text(text)
        compiler(source, script if text is not None else None, soname, output / soname)
        source.unlink()
        script.unlink(missing_ok=True)
        made.append(output / soname)
    return tuple(made)
