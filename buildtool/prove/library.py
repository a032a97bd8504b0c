"""What a host library is: what it needs, what it asks of whom, and what it should not carry."""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildtool.prove import elf as e
from buildtool.prove.reader import Buffer, MalformedError

_BUILD_PATH = re.compile(
    rb"(?:/(?:home|root|tmp|build|work|workspace|Users|project|mnt|__w|github)/[\x21-\x7e]{3,200})"
)
"""Folders that sources are built in; system folders such as /usr and /lib are not meant."""


@dataclass(frozen=True)
class Undefined:
    """A symbol that another library must supply. ``version`` and ``library`` are empty for unversioned symbols."""

    name: str
    version: str
    library: str
    weak: bool


@dataclass(frozen=True)
class Library:
    """Facts of one ELF shared library."""

    machine: str
    shared: bool
    needed: tuple[str, ...]
    soname: str
    run_paths: tuple[str, ...]
    executable_stack: bool
    text_relocations: bool
    undefined: tuple[Undefined, ...]
    defined: frozenset[str]
    versions: tuple[tuple[str, str], ...]
    """(library, version) for every symbol version asked for, e.g. (``libc.so.6``, ``GLIBC_2.34``)."""
    debug_sections: tuple[str, ...]
    build_paths: tuple[str, ...]


def read_library(data: bytes) -> Library:
    """Parse a shared library. Raises MalformedError."""
    elf = e.Elf(data)
    symbols = elf.symbols(e.SHT_DYNSYM)[1:]
    flags = dict(elf.dynamic)
    stack = [segment for segment in elf.segments if segment[0] == e.PT_GNU_STACK]
    return Library(
        machine=e.MACHINES.get(elf.machine, f"ELF machine {elf.machine}"),
        shared=elf.type == e.ET_DYN,
        needed=elf.dynamic_strings(e.DT_NEEDED),
        soname=next(iter(elf.dynamic_strings(e.DT_SONAME)), ""),
        run_paths=elf.dynamic_strings(e.DT_RPATH) + elf.dynamic_strings(e.DT_RUNPATH),
        # Without the segment the loader assumes that the library wants an executable stack.
        executable_stack=not stack or bool(stack[0][1] & e.PF_X),
        text_relocations=e.DT_TEXTREL in flags or bool(flags.get(e.DT_FLAGS, 0) & e.DF_TEXTREL),
        undefined=tuple(
            Undefined(s.name, s.version, s.library, weak=s.bind == e.STB_WEAK)
            for s in symbols
            if s.section == e.SHN_UNDEF and s.name
        ),
        defined=frozenset(s.name for s in symbols if s.section != e.SHN_UNDEF),
        versions=tuple(sorted({(library, version) for library, version, _ in elf.needed_versions})),
        debug_sections=tuple(s.name for s in elf.sections if s.name.startswith((".debug_", ".zdebug_"))),
        build_paths=build_paths(data),
    )


def build_paths(data: bytes) -> tuple[str, ...]:
    """Paths of a build machine that stand in ``data``, sorted, each once."""
    return tuple(sorted({match.decode("ascii") for match in _BUILD_PATH.findall(data)}))


def exports(data: Buffer) -> list[tuple[str, bool]]:
    """(symbol, undefined) for every named dynamic symbol of a library; for indexing large libraries."""
    rows = e.Elf(data).symbols(e.SHT_DYNSYM)[1:]
    if not rows:
        raise MalformedError("has no dynamic symbols")
    return [(row.name, row.section == e.SHN_UNDEF) for row in rows if row.name]
