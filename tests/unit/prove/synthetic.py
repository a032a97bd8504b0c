"""Good wheels made in memory, to be broken in one way at a time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from buildtool.plan.cells import Cell, Combo, Pins
from buildtool.plan.instances import Instance
from buildtool.prove.sbom import render_sbom, sbom_path
from buildtool.prove.symbols import SymbolIndex, index_of

CUBINS = Path(__file__).with_name("cubins")
DIGEST = "sha256:" + hashlib.sha256(b"source").hexdigest()
STAMP = "sageattention/_native/record.json"
LIBRARY = "sageattention/_native/libsageattention.so"
DIST_INFO = "sageattention-2.2.0.dist-info"
TORCH_SYMBOLS = (
    "_ZN3c105ErrorC1ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    "_ZN2at4_ops5empty4callEv",
    "_ZN3c104cuda14current_deviceEv",
)


def cubin(name: str, arch: str, cuda: str = "12.8") -> bytes:
    """A fixture: a real image of that kernel."""
    return (CUBINS / f"{name}.{arch}.cu{cuda.replace('.', '')}.cubin").read_bytes()


def cell(platform: str = "linux_x86_64", **changes: Any) -> Cell:
    combo = Combo("sageattention", "2.8.0", "12.8", "3.12", platform)
    values: dict[str, Any] = {
        "combo": combo,
        "version": "2.2.0",
        "build_tag": "280.128",
        "wheel": f"sageattention-2.2.0-280.128-cp312-cp312-{platform}.whl",
        "archs": ("sm_80", "sm_90a", "sm_120a"),
        "pins": Pins("torch==2.8.0", "nvidia-cuda-nvrtc-cu12==12.8.93", "nvidia-cuda-runtime-cu12==12.8.90",
                     "nvidia-cuda-nvcc-cu12==12.8.93"),
        "torch_requirement": "torch==2.8.*",
        "torch_index": "pypi",
        "cxx_standard": 17,
        "cxx11_abi": True,
        "min_driver": "525.60.13",
    }  # fmt: skip
    return Cell(**{**values, **changes})


def _instance(name: str, archs: Sequence[str]) -> Instance:
    return Instance(name, "tiny", "tiny.cu", (), frozenset(archs), frozenset({"sageattention"}))


INSTANCES = (_instance("tiny_d64", ("sm_80", "sm_90a", "sm_120a")), _instance("tiny_d128", ("sm_80",)))


def symbols(*extra: str) -> SymbolIndex:
    return index_of("2.8.0", "0" * 64, (*TORCH_SYMBOLS, *extra))


@dataclass
class LibrarySpec:
    """A host library: sections only, which is all that a reader needs; nobody loads it."""

    machine: int = 62
    kind: int = 3
    needed: Sequence[str] = ("libc10.so", "libc10_cuda.so", "libtorch_cpu.so", "libstdc++.so.6", "libc.so.6")
    undefined: Sequence[tuple[str, str, str]] = (
        *((name, "", "") for name in TORCH_SYMBOLS),
        ("memcpy", "GLIBC_2.14", "libc.so.6"),
        ("_ZSt4cerr", "GLIBCXX_3.4", "libstdc++.so.6"),
        ("__gxx_personality_v0", "CXXABI_1.3", "libstdc++.so.6"),
    )
    weak: Sequence[str] = ("__gmon_start__",)
    dynamic: Sequence[tuple[int, str | int]] = ()
    stack_flags: int | None = 6
    extra_sections: Sequence[tuple[str, bytes]] = ()

    def build(self) -> bytes:
        strings = _Strings()
        rows = [struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)]
        versions = [0]
        numbers: dict[tuple[str, str], int] = {}
        for name, version, library in self.undefined:
            rows.append(struct.pack("<IBBHQQ", strings.add(name), 1 << 4, 0, 0, 0, 0))
            if version:
                numbers.setdefault((library, version), len(numbers) + 2)
            versions.append(numbers[library, version] if version else 1)
        for name in self.weak:
            rows.append(struct.pack("<IBBHQQ", strings.add(name), 2 << 4, 0, 0, 0, 0))
            versions.append(1)
        dynamic = [(1, name) for name in self.needed] + list(self.dynamic) + [(0, 0)]
        table = b"".join(
            struct.pack("<qQ", tag, strings.add(value) if isinstance(value, str) else value) for tag, value in dynamic
        )
        need = _version_need(numbers, strings)
        sections = [
            (".dynstr", 3, 0, bytes(strings.data)),
            (".dynsym", 11, 1, b"".join(rows)),
            (".gnu.version", 0x6FFFFFFF, 2, struct.pack(f"<{len(versions)}H", *versions)),
            (".gnu.version_r", 0x6FFFFFFE, 1, need),
            (".dynamic", 6, 1, table),
            *((name, 1, 0, data) for name, data in self.extra_sections),
        ]
        segments = b""
        if self.stack_flags is not None:
            segments = struct.pack("<IIQQQQQQ", 0x6474E551, self.stack_flags, 0, 0, 0, 0, 0, 16)
        return _elf(self.machine, self.kind, sections, segments)


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def _version_need(numbers: dict[tuple[str, str], int], strings: _Strings) -> bytes:
    libraries = sorted({library for library, _ in numbers})
    out = b""
    for position, library in enumerate(libraries):
        entries = [(version, number) for (lib, version), number in numbers.items() if lib == library]
        following = 0 if position == len(libraries) - 1 else 16 + 16 * len(entries)
        out += struct.pack("<HHIII", 1, len(entries), strings.add(library), 16, following)
        for index, (version, number) in enumerate(entries):
            step = 0 if index == len(entries) - 1 else 16
            out += struct.pack("<IHHII", 0, 0, number, strings.add(version), step)
    return out or struct.pack("<HHIII", 1, 0, 0, 16, 0)


def _elf(machine: int, kind: int, sections: list[tuple[str, int, int, bytes]], segments: bytes) -> bytes:
    names = _Strings()
    body = bytearray(64) + segments
    headers = [struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)]
    for name, section_type, link, data in sections:
        headers.append(
            struct.pack("<IIQQQQIIQQ", names.add(name), section_type, 0, 0, len(body), len(data), link, 0, 1, 0)
        )
        body += data
    label = names.add(".shstrtab")
    headers.append(struct.pack("<IIQQQQIIQQ", label, 3, 0, 0, len(body), len(names.data), 0, 0, 1, 0))
    body += names.data
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(segments) // 56
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, kind, machine, 1, 0, 64, len(body), 0, 64, 56, count, 64,
                         len(headers), len(headers) - 1)  # fmt: skip
    body[:64] = header
    return bytes(body) + b"".join(headers)


def ar(members: Sequence[tuple[str, bytes]], timestamp: int = 0) -> bytes:
    """A Unix ar archive with GNU long names."""
    table = "".join(f"{name}/\n" for name, _ in members if len(name) > 15)
    out = b"!<arch>\n"
    if table:
        out += f"{'//':<48}{len(table):<10}`\n".encode() + table.encode() + b"\n" * (len(table) % 2)
    for name, data in members:
        label = f"/{table.index(name + '/' + chr(10))}" if len(name) > 15 else f"{name}/"
        out += f"{label:<16}{timestamp:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        out += data + b"\n" * (len(data) % 2)
    return out


@dataclass
class Wheel:
    """A wheel in parts. Change a part, then :meth:`build`: RECORD is made last unless it was replaced."""

    cell: Cell
    library: LibrarySpec
    archives: dict[str, list[tuple[str, bytes]]]
    stamp: dict[str, Any]
    files: dict[str, bytes]
    filename: str
    headers: list[str]
    metadata: list[str]
    record: Callable[[bytes], bytes] = field(default=lambda data: data)
    raw: dict[str, bytes] = field(default_factory=dict)
    """Members that replace whatever the parts would give."""
    dropped: set[str] = field(default_factory=set)
    late: dict[str, bytes] = field(default_factory=dict)
    """Members that replace others after RECORD was made."""
    archive_timestamp: int = 0
    info: Callable[[zipfile.ZipInfo], None] = field(default=lambda _: None)
    order: Callable[[list[str]], list[str]] = field(default=lambda names: names)
    finish: Callable[[bytes], bytes] = field(default=lambda data: data)

    def members(self) -> dict[str, bytes]:
        package = self.cell.combo.package
        parts = dict(self.files)
        parts[f"{package}/_native/lib{package}.so"] = self.library.build()
        for arch, images in self.archives.items():
            parts[f"{package}/_native/cubins/{arch}.ar"] = ar(images, self.archive_timestamp)
        parts[f"{package}/_native/record.json"] = json.dumps(self.stamp, sort_keys=True, indent=1).encode()
        parts[f"{DIST_INFO}/WHEEL"] = "\n".join([*self.headers, ""]).encode()
        parts[f"{DIST_INFO}/METADATA"] = "\n".join([*self.metadata, ""]).encode()
        parts.update(self.raw)
        parts = {name: data for name, data in parts.items() if name not in self.dropped}
        names = sorted(parts, key=lambda name: (".dist-info/" in name, name))
        if f"{DIST_INFO}/RECORD" not in self.dropped:
            rows = [f"{name},{_hash(parts[name])},{len(parts[name])}" for name in names]
            parts[f"{DIST_INFO}/RECORD"] = self.record("\n".join([*rows, f"{DIST_INFO}/RECORD,,", ""]).encode())
            names.append(f"{DIST_INFO}/RECORD")
        return {name: self.late.get(name, parts[name]) for name in self.order(names)}

    def build(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in self.members().items():
                info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
                info.external_attr = 0o100644 << 16
                info.compress_type = zipfile.ZIP_DEFLATED
                self.info(info)
                archive.writestr(info, data, compress_type=info.compress_type)
        return self.finish(buffer.getvalue())


def _hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def wheel(platform: str = "linux_x86_64", **changes: Any) -> Wheel:
    """A good wheel for :func:`cell`."""
    made = cell(platform, **changes)
    archives = {
        "sm_80": [("tiny_d128.cubin", cubin("tiny_d128", "sm_80")), ("tiny_d64.cubin", cubin("tiny_d64", "sm_80"))],
        "sm_90a": [("tiny_d64.cubin", cubin("tiny_d64", "sm_90a"))],
        "sm_120a": [("tiny_d64.cubin", cubin("tiny_d64", "sm_120a"))],
    }
    stamp = {
        "format": 1,
        "distribution": "sageattention",
        "version": "2.2.0",
        "build_tag": made.build_tag,
        "torch": made.combo.torch,
        "torch_requirement": made.torch_requirement,
        "cuda": made.combo.cuda,
        "python": made.combo.python,
        "platform": platform,
        "archs": list(made.archs),
        "min_driver": made.min_driver,
        "instances": {"sm_80": ["tiny_d128", "tiny_d64"], "sm_90a": ["tiny_d64"], "sm_120a": ["tiny_d64"]},
        "pins": asdict(made.pins),
        "cxx_standard": made.cxx_standard,
        "source_digest": DIGEST,
    }
    return Wheel(
        cell=made,
        library=LibrarySpec(),
        archives=archives,
        stamp=stamp,
        files={
            "sageattention/__init__.py": b'"""Attention."""\n',
            f"{DIST_INFO}/licenses/LICENSE": b"Apache License 2.0\n",
            sbom_path(made): render_sbom(made, DIGEST, hashes={pin: ["5" * 64] for pin in made.pins.all()}),
        },
        filename=made.wheel,
        headers=[
            "Wheel-Version: 1.0", "Generator: buildtool", "Root-Is-Purelib: false", f"Build: {made.build_tag}",
            f"Tag: cp312-cp312-{platform}",
        ],
        metadata=[
            "Metadata-Version: 2.4", "Name: sageattention", "Version: 2.2.0", "Summary: Attention",
            "License-Expression: Apache-2.0", "License-File: LICENSE", "Requires-Python: >=3.9",
            f"Requires-Dist: {made.torch_requirement}",
        ],
    )  # fmt: skip
