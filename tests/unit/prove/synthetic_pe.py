"""Small Windows libraries made in memory: headers, one section, imports, exports, and a debug record."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BASE = 0x1000
"""Address of the one section, and its offset in the file."""


@dataclass
class DllSpec:
    machine: int = 0x8664
    characteristics: int = 0x2022
    flags: int = 0x160
    imports: Mapping[str, Sequence[str]] = field(
        default_factory=lambda: {
            "c10.dll": ["??0Error@c10@@QEAA@XZ"],
            "torch_cpu.dll": ["?empty@at@@YAXXZ"],
            "c10_cuda.dll": ["?current_device@cuda@c10@@YAHXZ"],
            "KERNEL32.dll": ["LoadLibraryA"],
            "VCRUNTIME140_1.dll": ["__CxxFrameHandler4"],
            "api-ms-win-crt-heap-l1-1-0.dll": ["malloc"],
        }
    )
    exports: Sequence[str] = ()
    debug_path: str = "sageattention.pdb"
    extra: bytes = b""

    def build(self) -> bytes:
        body = bytearray()
        directories = [(0, 0)] * 16

        def add(data: bytes) -> int:
            body.extend(bytes(-len(body) % 8))
            at = BASE + len(body)
            body.extend(data)
            return at

        rows = b""
        for library, names in self.imports.items():
            entries = [add(b"\0\0" + name.encode() + b"\0") for name in names]
            table = add(struct.pack(f"<{len(entries) + 1}Q", *entries, 0))
            rows += struct.pack("<5I", table, 0, 0, add(library.encode() + b"\0"), table)
        rows += bytes(20)
        directories[1] = (add(rows), len(rows))
        if self.exports:
            texts = [add(name.encode() + b"\0") for name in self.exports]
            pointers = add(struct.pack(f"<{len(texts)}I", *texts))
            row = struct.pack("<IIHHIIIIIII", 0, 0, 0, 0, 0, 1, len(texts), len(texts), 0, pointers, 0)
            directories[0] = (add(row), len(row))
        if self.debug_path:
            record = b"RSDS" + bytes(20) + self.debug_path.encode() + b"\0"
            at = add(record)
            row = struct.pack("<IIHHIIII", 0, 0, 0, 0, 2, len(record), at, at)
            directories[6] = (add(row), len(row))
        add(self.extra)
        optional = struct.pack("<H", 0x20B).ljust(70, b"\0") + struct.pack("<H", self.flags)
        optional = optional.ljust(108, b"\0") + struct.pack("<I", 16)
        optional += b"".join(struct.pack("<II", *pair) for pair in directories)
        coff = struct.pack("<HHIIIHH", self.machine, 1, 0, 0, 0, len(optional), self.characteristics)
        section = struct.pack("<8sIIIIIIHHI", b".rdata", len(body), BASE, len(body), BASE, 0, 0, 0, 0, 0)
        head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + section
        return head.ljust(BASE, b"\0") + bytes(body)
