"""The zip itself, what may be in it, and RECORD."""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import io
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator

from buildtool.prove.facts import Facts
from buildtool.prove.findings import Finding
from buildtool.prove.library import build_paths
from buildtool.prove.rules import Expectation

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MODES = (0o644, 0o755)
_BYTECODE = (".pyc", ".pyo")
_SOURCES = (".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".o", ".a", ".pyx", ".toml", ".lock")
_PTX = b".version "
_UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")


def check_zip(facts: Facts, _: Expectation) -> Iterator[Finding]:
    """Structure: readable, bounded, no traversal, no duplicates, and nothing that makes equal inputs differ."""
    if facts.archive is None:
        yield Finding("zip.unreadable", "", "a zip with a directory at its end", facts.problems[facts.filename])
        return
    members = facts.archive.members
    encrypted = {member.name for member in members if member.encrypted}
    methods = {member.name for member in members if member.method not in _METHODS}
    for name, reason in facts.archive.unreadable:
        if name not in encrypted and name not in methods:
            code = "zip.bomb" if "bomb" in reason or "limit" in reason else "zip.member"
            yield Finding(code, name, "a member that can be read", reason)
    for name, count in Counter(member.name for member in members).items():
        if count > 1:
            yield Finding("zip.duplicate", name, "each name once", f"{count} members of that name")
    folded = Counter(name.lower() for name in {member.name for member in members})
    for name, count in folded.items():
        if count > 1:
            yield Finding("zip.case", name, "names that differ by more than case", f"{count} spellings")
    for member in members:
        parts = member.name.split("/")
        if member.name.startswith("/") or ".." in parts or (len(member.name) > 1 and member.name[1] == ":"):
            yield Finding("zip.traversal", member.name, "a path below the environment", "a path that leaves it")
        elif "\\" in member.name or not member.name.isascii() or not member.name.isprintable() or "" in parts:
            yield Finding(
                "zip.name", member.name, "printable ASCII file names with / between folders", repr(member.name)
            )
        if member.encrypted:
            yield Finding("zip.encrypted", member.name, "plain members", "an encrypted member")
        if member.method not in _METHODS:
            yield Finding("zip.method", member.name, "stored or deflated", f"compression method {member.method}")
        if stat.S_ISLNK(member.mode):
            yield Finding("zip.link", member.name, "a file", "a symbolic link")
        elif stat.S_IMODE(member.mode) not in _MODES:
            yield Finding("zip.mode", member.name, "mode 644 or 755", f"mode {stat.S_IMODE(member.mode):o}")
        if member.local_name != member.name:
            yield Finding("zip.local-name", member.name, "one name in both headers", repr(member.local_name))
    if facts.archive.prefix or facts.archive.suffix:
        extra = f"{facts.archive.prefix} bytes before and {facts.archive.suffix} after"
        yield Finding("zip.padding", "", "nothing before the first member and after the directory", extra)
    times = {member.timestamp for member in members}
    if len(times) > 1:
        yield Finding("zip.timestamp", "", "one timestamp for all members", f"{len(times)} timestamps")
    names = [member.name for member in members]
    wanted = sorted(names, key=lambda name: (_in_dist_info(name), name.endswith(".dist-info/RECORD"), name))
    if names != wanted and len(set(names)) == len(names):
        first = next(name for name, want in zip(names, wanted, strict=True) if name != want)
        yield Finding(
            "zip.order", first, "members in name order, .dist-info after the rest and RECORD last", "out of order"
        )


def check_content(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Nothing but the package and its metadata; no byte-code, sources, PTX or traces of the build machine."""
    package = expected.cell.combo.package
    if facts.archive and f"{package}/__init__.py" not in facts.contents:
        yield Finding("content.package", f"{package}/__init__.py", f"the package {package}", "no such member")
    for name, content in facts.contents.items():
        top = name.split("/")[0]
        if top not in {package, facts.dist_info} and not top.endswith(".dist-info"):
            yield Finding("content.foreign", name, f"members below {package}/ and .dist-info/", f"a member below {top}")
        if name.endswith(_BYTECODE) or "__pycache__" in name:
            yield Finding("content.bytecode", name, "no byte-code", "byte-code of one Python")
        elif name.endswith(".ptx") or (not name.endswith(".ar") and _is_ptx(content[:4096])):
            yield Finding("content.ptx", name, "machine code for each architecture", "PTX")
        elif name.endswith(_SOURCES):
            yield Finding("content.source", name, "no sources or build products", f"a {name.rsplit('.', 1)[1]} file")
        if (_in_dist_info(name) or name == facts.stamp_path) and (paths := build_paths(content)):
            yield Finding("content.build-path", name, "no paths of the build machine", paths[0])


def _is_ptx(head: bytes) -> bool:
    return _PTX in head and b".target sm_" in head


def check_record(facts: Facts, _: Expectation) -> Iterator[Finding]:
    """RECORD lists every member once, with its SHA-256 and size (PEP 376, PEP 427)."""
    if facts.archive is None:
        return
    path = f"{facts.dist_info}/RECORD"
    if facts.record is None:
        yield Finding("record.missing", path, "a RECORD", "none")
        return
    try:
        rows = list(csv.reader(io.StringIO(facts.record.decode("utf-8"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        yield Finding("record.malformed", path, "UTF-8 lines of name,hash,size", str(error))
        return
    listed: Counter[str] = Counter()
    exempt = {f"{facts.dist_info}/{name}" for name in _UNRECORDED}
    for number, row in enumerate(rows, 1):
        if len(row) != 3:  # noqa: PLR2004  (name, hash, size)
            yield Finding("record.malformed", f"line {number}", "name,hash,size", f"{len(row)} fields")
            continue
        name, digest, size = row
        listed[name] += 1
        content = facts.contents.get(name)
        if content is None:
            if not any(name == unreadable for unreadable, _ in facts.archive.unreadable):
                yield Finding("record.absent", name, "a member for each line", "no such member")
        elif name not in exempt:
            yield from _check_row(name, digest, size, content)
    for name, count in listed.items():
        if count > 1:
            yield Finding("record.duplicate", name, "one line per member", f"{count} lines")
    for member in facts.archive.members:
        if member.name not in listed and member.name not in exempt - {path} and not member.name.endswith("/"):
            yield Finding("record.unlisted", member.name, "a line for each member", "no line")


def _check_row(name: str, digest: str, size: str, content: bytes) -> Iterator[Finding]:
    algorithm, _, value = digest.partition("=")
    if algorithm != "sha256":
        yield Finding("record.algorithm", name, "sha256", algorithm or "no hash")
        return
    try:
        claimed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        claimed = b""
    actual = hashlib.sha256(content).digest()
    if claimed != actual:
        seen = base64.urlsafe_b64encode(actual).decode().rstrip("=")
        yield Finding("record.hash", name, value or "a hash", seen)
    if size != str(len(content)):
        yield Finding("record.size", name, size or "a size", str(len(content)))


def _in_dist_info(name: str) -> bool:
    return name.partition("/")[0].endswith(".dist-info")
