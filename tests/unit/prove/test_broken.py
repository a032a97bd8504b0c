"""Every kind of broken wheel is caught by its own finding; good wheels give none."""

from __future__ import annotations

import io
import re
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.prove.elf import Elf
from buildtool.prove.findings import CATALOGUE, catalogue_markdown
from buildtool.prove.sbom import sbom_path
from buildtool.prove.verify import Report, verify_bytes
from tests.unit.prove import synthetic as s

SB = sbom_path(s.cell())
DI = s.DIST_INFO
Break = Callable[[s.Wheel], None]


def judge(wheel: s.Wheel, *, symbols: bool = True) -> Report:
    index = s.symbols() if symbols else None
    return verify_bytes(wheel.filename, wheel.build(), wheel.cell, s.INSTANCES, symbols=index)


def both(*breaks: Break) -> Break:
    def apply(w: s.Wheel) -> None:
        for one in breaks:
            one(w)

    return apply


def finish(change: Callable[[bytes], bytes]) -> Break:
    """Change the finished file."""
    return lambda w: setattr(w, "finish", change)


def put(name: str, data: bytes) -> Break:
    return lambda w: w.raw.__setitem__(name, data)


def drop(name: str) -> Break:
    return lambda w: w.dropped.add(name)


def stamp(key: str, value: object) -> Break:
    return lambda w: w.stamp.__setitem__(key, value)


def library(**values: object) -> Break:
    def apply(w: s.Wheel) -> None:
        for name, value in values.items():
            setattr(w.library, name, value)

    return apply


def needs(*names: str) -> Break:
    return lambda w: setattr(w.library, "needed", (*w.library.needed, *names))


def asks(name: str, version: str = "", of: str = "") -> Break:
    return lambda w: setattr(w.library, "undefined", (*w.library.undefined, (name, version, of)))


def line(field: str, value: str | None) -> Break:
    def apply(w: s.Wheel) -> None:
        for lines in (w.headers, w.metadata):
            for index, text in enumerate(lines):
                if text.startswith(f"{field}:"):
                    lines[index : index + 1] = [] if value is None else [f"{field}: {value}"]

    return apply


def image(arch: str, data: bytes, name: str = "tiny_d64.cubin") -> Break:
    def apply(w: s.Wheel) -> None:
        w.archives[arch] = [(n, data if n == name else d) for n, d in w.archives[arch]]

    return apply


def every(change: Callable[[zipfile.ZipInfo], None], name: str) -> Break:
    def apply(info: zipfile.ZipInfo) -> None:
        if info.filename == name:
            change(info)

    return lambda w: setattr(w, "info", apply)


def rows(change: Callable[[list[str]], list[str]]) -> Break:
    return lambda w: setattr(w, "record", lambda data: "\n".join(change(data.decode().split("\n"))).encode())


def patched(offset: int, layout: str, value: int) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into(layout, out, offset, value)
        return bytes(out)

    return apply


def central(name: str, offset: int, layout: str, value: int) -> Break:
    """Change a field of a member's entry in the central directory."""

    def apply(data: bytes) -> bytes:
        at = data.rfind(b"PK\1\2", 0, data.rfind(name.encode()))
        return patched(at + offset, layout, value)(data)

    return lambda w: setattr(w, "finish", apply)


def twice(w: s.Wheel) -> None:
    w.order = lambda names: names
    w.finish = lambda data: _append(data, "sageattention/__init__.py", b'"""Attention."""\n')


def _append(data: bytes, name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "a") as archive:
            info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def _flip(data: bytes) -> bytes:
    at = data.find(b"sageattention/core.py") + 30
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def _wide(data: bytes) -> bytes:
    """The image with 49 KiB of static shared memory."""
    elf = Elf(data)
    number = next(n for n, section in enumerate(elf.sections) if section.name.startswith(".nv.shared."))
    (table,) = struct.unpack_from("<Q", data, 0x28)
    return patched(table + 64 * number + 0x20, "<Q", 49 * 1024)(data)


def swap(names: list[str]) -> list[str]:
    return [names[1], names[0], *names[2:]]


V7_PLAIN_FLAGS = 0x00500550
SAGE = "sageattention/__init__.py"
U80 = s.cubin("tiny_d64", "sm_80")
PTX = b"//\n.version 8.7\n.target sm_80\n.address_size 64\n.visible .entry tiny_d64() { ret; }\n"
UNDEFINED_NAME = b"tiny_d64"

BROKEN: dict[str, tuple[Break, set[str]]] = {
    # name of the case: (what breaks it, the codes that it must give, exactly)
    "cut off in the middle": (finish(lambda d: d[: len(d) // 2]), {"zip.unreadable"}),
    "not a zip": (finish(lambda _: b"<html>404</html>"), {"zip.unreadable"}),
    "flipped bit in a member": (
        both(put("sageattention/core.py", s.DIGEST.encode()), finish(_flip)),
        {"zip.member"},
    ),
    "decompression bomb": (
        both(put("sageattention/core.py", b""), central("sageattention/core.py", 24, "<I", 3 << 30)),
        {"zip.bomb"},
    ),
    "encrypted member": (central(SAGE, 8, "<H", 1), {"zip.encrypted", "content.package"}),
    "unknown compression": (central(SAGE, 10, "<H", 97), {"zip.method", "content.package"}),
    "bzip2 compression": (every(lambda i: setattr(i, "compress_type", zipfile.ZIP_BZIP2), SAGE), {"zip.method"}),
    "member outside": (put("../evil.py", b""), {"zip.traversal", "content.foreign"}),
    "absolute member": (put("/etc/evil", b""), {"zip.traversal", "content.foreign"}),
    "backslash in a name": (put("sageattention/a\\b.py", b""), {"zip.name"}),
    "member twice": (twice, {"zip.duplicate"}),
    "names that differ by case": (put("sageattention/__INIT__.py", b""), {"zip.case"}),
    "symbolic link": (every(lambda i: setattr(i, "external_attr", 0o120777 << 16), SAGE), {"zip.link"}),
    "world-writable member": (every(lambda i: setattr(i, "external_attr", 0o100666 << 16), SAGE), {"zip.mode"}),
    "two names for one member": (
        finish(lambda d: d.replace(b"sageattention/__init__", b"sageattention/__evil__", 1)),
        {"zip.local-name", "zip.member", "content.package"},
    ),
    "bytes before the zip": (finish(lambda d: b"#!/bin/sh\n" + d), {"zip.padding"}),
    "zip comment": (finish(lambda d: d[:-2] + b"\3\0abc"), {"zip.padding"}),
    "time of one member": (every(lambda i: setattr(i, "date_time", (2026, 1, 1, 0, 0, 0)), SAGE), {"zip.timestamp"}),
    "members out of order": (lambda w: setattr(w, "order", swap), {"zip.order"}),
    # content
    "tests in the wheel": (put("tests/test_attention.py", b""), {"content.foreign"}),
    "byte-code": (put("sageattention/__pycache__/x.cpython-312.pyc", b""), {"content.bytecode"}),
    "kernel source": (put("sageattention/attention.cu", b""), {"content.source"}),
    "PTX file": (put("sageattention/_native/tiny.ptx", PTX), {"content.ptx"}),
    "PTX under another name": (put("sageattention/_native/tiny.bin", PTX), {"content.ptx"}),
    "build path in METADATA": (lambda w: w.metadata.append("Keywords: /home/user/src/x"), {"content.build-path"}),
    "no package": (drop(SAGE), {"content.package"}),
    # names
    "name of no wheel": (lambda w: setattr(w, "filename", "sageattention.whl"), {"name.invalid"}),
    "name with a local version": (
        lambda w: setattr(w, "filename", "sageattention-2.2.0+cu128torch2.8-cp312-cp312-linux_x86_64.whl"),
        {"name.plan", "name.dist-info"},
    ),
    "name of another build": (
        lambda w: setattr(w, "filename", w.filename.replace("280.128", "290.128")),
        {"name.plan"},
    ),
    "name claims manylinux": (
        lambda w: setattr(w, "filename", w.filename.replace("linux_x86_64", "manylinux_2_28_x86_64")),
        {"name.plan"},
    ),
    "second dist-info": (put("other-1.0.dist-info/METADATA", b""), {
        "name.dist-info", "wheel.missing", "metadata.missing", "record.missing",
    }),
    "no WHEEL": (drop(f"{DI}/WHEEL"), {"wheel.missing"}),
    "Wheel-Version 2.0": (line("Wheel-Version", "2.0"), {"wheel.version"}),
    "pure wheel": (line("Root-Is-Purelib", "true"), {"wheel.purelib"}),
    "tag of another Python": (line("Tag", "cp311-cp311-linux_x86_64"), {"wheel.tag"}),
    "no Build header": (line("Build", None), {"wheel.build"}),
    # metadata
    "no METADATA": (drop(f"{DI}/METADATA"), {"metadata.missing"}),
    "metadata without a name": (line("Name", None), {"metadata.invalid"}),
    "unknown metadata version": (line("Metadata-Version", "9.9"), {"metadata.invalid"}),
    "name of another project": (line("Name", "flash-attn"), {"metadata.name"}),
    "another version": (line("Version", "2.1.1"), {"metadata.version"}),
    "Requires-Python too high": (line("Requires-Python", ">=3.13"), {"metadata.python"}),
    "no Requires-Python": (line("Requires-Python", None), {"metadata.python"}),
    "torch not bounded": (line("Requires-Dist", "torch"), {"metadata.torch"}),
    "torch of another minor": (line("Requires-Dist", "torch==2.9.*"), {"metadata.torch"}),
    "no torch": (line("Requires-Dist", None), {"metadata.torch"}),
    "requirement by URL": (
        lambda w: w.metadata.append("Requires-Dist: einops @ https://example.org/einops.whl"),
        {"metadata.direct-url"},
    ),
    "no licence": (line("License-Expression", None), {"metadata.licence"}),
    "no licence file": (drop(f"{DI}/licenses/LICENSE"), {"metadata.licence-file"}),
    "no License-File": (line("License-File", None), {"metadata.licence-file"}),
    # RECORD
    "no RECORD": (drop(f"{DI}/RECORD"), {"record.missing"}),
    "RECORD with two fields": (rows(lambda r: [r[0].rsplit(",", 1)[0], *r[1:]]),
                              {"record.malformed", "record.unlisted"}),
    "RECORD not UTF-8": (lambda w: setattr(w, "record", lambda _: b"\xff\xfe"), {"record.malformed"}),
    "member not in RECORD": (rows(lambda r: r[1:]), {"record.unlisted"}),
    "RECORD lists a ghost": (rows(lambda r: [f"sageattention/gone.py,{s._hash(b'')},0", *r]), {"record.absent"}),
    "changed after the build": (lambda w: w.late.__setitem__(SAGE, b'"""Attentiom."""\n'), {"record.hash"}),
    "wrong size in RECORD": (rows(lambda r: [f"{r[0]}9", *r[1:]]), {"record.size"}),
    "md5 in RECORD": (rows(lambda r: [r[0].replace("sha256=", "md5="), *r[1:]]), {"record.algorithm"}),
    "no hash in RECORD": (rows(lambda r: [f"{SAGE},,", *r[1:]]), {"record.algorithm"}),
    "line twice": (rows(lambda r: [r[0], *r]), {"record.duplicate"}),
    # record.json
    "no record.json": (drop(s.STAMP), {"stamp.missing"}),
    "record.json is no JSON": (put(s.STAMP, b"{"), {"stamp.malformed"}),
    "record.json is a list": (put(s.STAMP, b"[]"), {"stamp.malformed"}),
    "record.json of the future": (stamp("format", 2), {"stamp.format"}),
    "stamp: distribution": (stamp("distribution", "sageattn3"), {"stamp.distribution"}),
    "stamp: version": (stamp("version", "2.1.0"), {"stamp.version"}),
    "stamp: build tag": (stamp("build_tag", "290.128"), {"stamp.build-tag"}),
    "stamp: torch": (stamp("torch", "2.9.0"), {"stamp.torch"}),
    "stamp: torch requirement": (stamp("torch_requirement", "torch"), {"stamp.torch-requirement"}),
    "stamp: CUDA": (stamp("cuda", "12.9"), {"stamp.cuda"}),
    "stamp: Python": (stamp("python", 3.12), {"stamp.python"}),
    "stamp: platform": (stamp("platform", "win_amd64"), {"stamp.platform"}),
    "stamp: architectures": (stamp("archs", ["sm_80", "sm_90", "sm_120a"]), {"stamp.archs"}),
    "stamp: driver": (stamp("min_driver", "570.26"), {"stamp.min-driver"}),
    "stamp: instances": (stamp("instances", {"sm_80": ["tiny_d64"]}), {"stamp.instances"}),
    "stamp: pins": (stamp("pins", {}), {"stamp.pins"}),
    "stamp: C++ standard": (stamp("cxx_standard", 20), {"stamp.cxx-standard"}),
    "stamp: source digest": (stamp("source_digest", "unknown"), {"stamp.source-digest", "sbom.digest"}),
    # binding
    "no binding": (drop(s.LIBRARY), {"library.missing"}),
    "binding of text": (put(s.LIBRARY, b"version https://git-lfs\n"), {"library.malformed"}),
    "binding cut off": (lambda w: w.raw.__setitem__(s.LIBRARY, w.library.build()[:900]), {"library.malformed"}),
    "aarch64 binding": (library(machine=183), {"library.machine"}),
    "object file": (library(kind=1), {"library.kind"}),
    "links libcudart": (needs("libcudart.so.12"), {"library.cuda-runtime"}),
    "links libcuda": (needs("libcuda.so.1"), {"library.cuda-runtime"}),
    "links libpython": (needs("libpython3.12.so.1.0"), {"library.python"}),
    "links libtorch_python": (needs("libtorch_python.so"), {"library.python"}),
    "calls Python": (asks("PyObject_Call"), {"library.python"}),
    "links a stranger": (needs("libfoo.so.1"), {"library.needed"}),
    "RPATH": (library(dynamic=((15, "/opt/torch/lib"),)), {"library.run-path"}),
    "RUNPATH": (library(dynamic=((29, "$ORIGIN/../../torch/lib"),)), {"library.run-path"}),
    "executable stack": (library(stack_flags=7), {"library.executable-stack"}),
    "no stack note": (library(stack_flags=None), {"library.executable-stack"}),
    "text relocations": (library(dynamic=((22, 0),)), {"library.text-relocations"}),
    "undefined symbol": (asks("_ZN2at4_ops9not_there4callEv"), {"library.undefined"}),
    "string ABI before C++11": (
        lambda w: setattr(w.library, "undefined", (("_ZN3c105ErrorC1ENS_14SourceLocationESs", "", ""),)),
        {"library.cxx11-abi", "library.undefined"},
    ),
    "debug sections": (library(extra_sections=((".debug_info", b"x"),)), {"library.debug"}),
    "build path in the binding": (
        library(extra_sections=((".rodata", b"\0/home/builder/src/binding.cpp\0"),)),
        {"library.build-path"},
    ),
    # device code
    "architecture without cubins": (lambda w: _without(w, "sm_90a"), {"cubin.archive-missing"}),
    "architecture nobody asked for": (lambda w: _with(w, "sm_86"), {"cubin.archive-extra"}),
    "archive cut off": (lambda w: put("sageattention/_native/cubins/sm_80.ar", s.ar(w.archives["sm_80"])[:700])(w),
                        {"cubin.archive-malformed"}),
    "archive of text": (put("sageattention/_native/cubins/sm_80.ar", b"hello"), {"cubin.archive-malformed"}),
    "archive out of order": (lambda w: w.archives["sm_80"].reverse(), {"cubin.archive-order"}),
    "time in the archive": (lambda w: setattr(w, "archive_timestamp", 1_700_000_000), {"cubin.archive-stamp"}),
    "instance twice": (lambda w: _set(w, "sm_80", w.archives["sm_80"] + w.archives["sm_80"][1:]), {"cubin.duplicate"}),
    "instance missing": (lambda w: _set(w, "sm_80", w.archives["sm_80"][:1]), {"cubin.missing"}),
    "instance nobody asks for": (
        lambda w: _set(w, "sm_90a", [("stray.cubin", s.cubin("tiny_d64", "sm_90a")), *w.archives["sm_90a"]]),
        {"cubin.extra", "cubin.entry"},
    ),
    "PTX instead of a cubin": (image("sm_80", PTX), {"cubin.ptx"}),
    "fat binary instead of a cubin": (image("sm_80", b"\x50\xed\x55\xba" + bytes(60)), {"cubin.fatbin"}),
    "cubin cut off": (image("sm_80", U80[:1000]), {"cubin.malformed"}),
    "host library as a cubin": (image("sm_80", s.LibrarySpec().build()), {"cubin.malformed"}),
    "cubin of another architecture": (image("sm_80", s.cubin("tiny_d64", "sm_86")), {"cubin.arch"}),
    "sm_90 in place of sm_90a": (image("sm_90a", s.cubin("tiny_d64", "sm_90")), {"cubin.suffix"}),
    "sm_120 in place of sm_120a": (image("sm_120a", s.cubin("tiny_d64", "sm_120")), {"cubin.suffix"}),
    "marks that disagree": (
        image("sm_120a", patched(48, "<I", 0x06007802)(s.cubin("tiny_d64", "sm_120a"))),
        {"cubin.suffix-contradiction"},
    ),
    "cubin of another CUDA": (image("sm_90a", s.cubin("tiny_d64", "sm_90a", "13.0")), {"cubin.toolkit"}),
    "sm_120f of CUDA 13 in sm_120a": (
        image("sm_120a", s.cubin("tiny_d64", "sm_120f", "13.0")),
        {"cubin.suffix", "cubin.toolkit"},
    ),
    "entry of another name": (image("sm_80", U80.replace(b"tiny_d64", b"tiny_d32")), {"cubin.entry"}),
    "mangled entry": (image("sm_80", U80.replace(b"tiny_d64", b"_Z4tinyv")), {"cubin.entry"}),
    "two entries in a cubin": (image("sm_80", s.cubin("pair", "sm_80")), {"cubin.entries"}),
    "cubin that calls into another": (image("sm_80", s.cubin("call", "sm_80")), {"cubin.undefined"}),
    "more shared memory than there is": (image("sm_80", _wide(U80)), {"cubin.shared-memory"}),
    "line information": (
        image("sm_80", s.cubin("lines", "sm_80").replace(b"lines\0", b"lines\0")),
        {"cubin.debug", "cubin.entry"},
    ),
    "build path in a cubin": (image("sm_80", U80 + b"/home/me/kernels/sage2/attention.cu\0"), {"cubin.build-path"}),
    # bill of materials
    "no SBOM": (drop(SB), {"sbom.missing"}),
    "SBOM is no JSON": (put(SB, b"\xff"), {"sbom.malformed"}),
    "SPDX instead of CycloneDX": (put(SB, b'{"spdxVersion": "SPDX-2.3"}'), {"sbom.format"}),
    "old CycloneDX": (
        lambda w: w.files.__setitem__(SB, w.files[SB].replace(b'"1.6"', b'"1.4"')),
        {"sbom.format"},
    ),
    "SBOM of another version": (
        lambda w: w.files.__setitem__(SB, w.files[SB].replace(b'"version": "2.2.0"', b'"version": "2.1.0"')),
        {"sbom.subject"},
    ),
    "SBOM without a pin": (
        lambda w: w.files.__setitem__(SB, w.files[SB].replace(b"12.8.93", b"12.8.61")),
        {"sbom.pins"},
    ),
    "SBOM without the hash of a pin": (
        lambda w: w.files.__setitem__(SB, w.files[SB].replace(b"5" * 64, b"5" * 63, 1)),
        {"sbom.hashes"},
    ),
    "SBOM of another source": (
        lambda w: w.files.__setitem__(SB, w.files[SB].replace(s.DIGEST.encode(), b"sha256:0")),
        {"sbom.digest"},
    ),
}  # fmt: skip


def _set(w: s.Wheel, arch: str, members: list[tuple[str, bytes]]) -> None:
    w.archives[arch] = members
    w.stamp["instances"][arch] = sorted(name.removesuffix(".cubin") for name, _ in members)


def _with(w: s.Wheel, arch: str) -> None:
    _set(w, arch, [("tiny_d64.cubin", s.cubin("tiny_d64", arch))])


def _without(w: s.Wheel, arch: str) -> None:
    del w.archives[arch]
    del w.stamp["instances"][arch]


@pytest.mark.parametrize("platform", ["linux_x86_64", "manylinux_2_28_x86_64"])
def test_a_good_wheel_has_no_findings(platform: str) -> None:
    report = judge(s.wheel(platform))
    assert report.findings == ()
    assert report.ok
    assert report.exit_code == 0
    assert report.resolves == {"2.8.0": ()}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_wheel_is_caught_by_its_own_finding(case: str) -> None:
    breakage, codes = BROKEN[case]
    wheel = s.wheel()
    breakage(wheel)
    report = judge(wheel)
    assert {finding.code for finding in report.findings} == codes, "\n".join(map(str, report.findings))
    assert not report.ok
    assert report.exit_code == 6


def test_there_are_many_ways_to_be_broken() -> None:
    assert len({next(iter(codes)) for _, codes in BROKEN.values() if len(codes) == 1}) >= 60


@pytest.mark.parametrize(
    ("version", "library_name", "code"),
    [
        ("GLIBC_2.32", "libc.so.6", "library.glibc"),
        ("GLIBC_2.34", "libc.so.6", "library.glibc"),
        ("GLIBCXX_3.4.29", "libstdc++.so.6", "library.glibcxx"),
        ("CXXABI_1.3.13", "libstdc++.so.6", "library.cxxabi"),
        ("GCC_14.0.0", "libgcc_s.so.1", "library.gcc"),
    ],
)
def test_a_manylinux_claim_must_hold(version: str, library_name: str, code: str) -> None:
    claimed, native = s.wheel("manylinux_2_28_x86_64"), s.wheel()
    for wheel in (claimed, native):
        asks("some_function", version, library_name)(wheel)
    assert [finding.code for finding in judge(claimed).findings] == [code]
    assert judge(native).findings == ()


def test_spills_are_a_note_only() -> None:
    wheel = s.wheel()
    image("sm_80", s.cubin("spill", "sm_80").replace(b"spill\0", b"spill\0"))(wheel)
    report = judge(wheel)
    assert {f.code for f in report.findings} == {"cubin.spills", "cubin.entry"}
    assert [f.level for f in report.findings if f.code == "cubin.spills"] == ["note"]
    assert next(row for row in report.resources if row.arch == "sm_80").max_stack == 128


def test_dispatch_finds_what_it_may_choose() -> None:
    wheel = s.wheel()
    wanted = {"sm_80": ("tiny",), "sm_90a": ("tiny", "other"), "sm_120a": ("tiny", "tiny_d128"), "sm_89": ("x",)}
    report = verify_bytes(wheel.filename, wheel.build(), wheel.cell, None, symbols=s.symbols(), families=wanted)
    assert [(f.code, f.where) for f in report.findings] == [
        ("cubin.dispatch", "sm_120a.ar"),
        ("cubin.dispatch", "sm_90a.ar"),
    ]
    assert "other" in report.findings[1].expected


def test_a_cuda_version_cannot_make_every_architecture() -> None:
    wheel = s.wheel(archs=("sm_80", "sm_90a", "sm_120a", "sm_110"))
    assert {f.code for f in judge(wheel).findings} == {"cubin.unsupported", "cubin.archive-missing"}


def test_without_torch_the_symbols_are_reported_as_unchecked() -> None:
    report = judge(s.wheel(), symbols=False)
    assert [(f.code, f.level) for f in report.findings] == [("library.unchecked", "warning")]
    assert report.ok


def test_every_finding_says_what_to_do() -> None:
    for code, kind in CATALOGUE.items():
        assert kind.remedy, code
        assert code.count(".") == 1
    seen = judge(s.wheel(), symbols=False).findings[0]
    assert seen.remedy in str(seen)
    assert seen.to_json()["level"] == "warning"


def test_the_list_of_findings_is_up_to_date(root: Path) -> None:
    assert (root / "docs/findings.md").read_text("utf-8") == catalogue_markdown(), "run `python -m buildtool findings`"


def test_every_code_that_a_rule_gives_is_in_the_list(root: Path) -> None:
    sources = "".join(
        path.read_text("utf-8")
        for path in sorted((root / "buildtool/prove").rglob("*.py"))
        if path.name != "findings.py"
    )
    used = set(re.findall(r'"([a-z]+\.[a-z0-9-]+)"', sources))
    assert set(CATALOGUE) - used == set()
    assert {code for _, codes in BROKEN.values() for code in codes} <= set(CATALOGUE)


def test_every_code_is_provoked_by_some_test(root: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in (root / "tests").rglob("*.py"))
    assert not [code for code in CATALOGUE if f'"{code}"' not in text]


def test_a_report_is_the_same_every_time() -> None:
    first, second = judge(s.wheel()), judge(s.wheel())
    assert first.to_json() == second.to_json()


def test_a_large_wheel_takes_under_three_seconds() -> None:
    wheel = s.wheel()
    body = s.cubin("tiny_d64", "sm_80")
    wheel.archives["sm_80"] = [(f"tiny_{i:04}.cubin", body.replace(b"tiny_d64", b"tiny%04d" % i)) for i in range(2000)]
    data = wheel.build()
    started = time.process_time()
    verify_bytes(wheel.filename, data, wheel.cell, s.INSTANCES, symbols=s.symbols())
    assert time.process_time() - started < 3
