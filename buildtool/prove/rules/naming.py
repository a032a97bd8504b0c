"""File name ↔ WHEEL ↔ METADATA ↔ plan."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.metadata import InvalidMetadata, Metadata
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from buildtool.prove.facts import Facts
from buildtool.prove.findings import Finding
from buildtool.prove.rules import Expectation


def check_name(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """The file name is well formed and the one in the plan; .dist-info agrees with it."""
    try:
        name, version, _, _ = parse_wheel_filename(facts.filename)
    except InvalidWheelFilename as error:
        yield Finding("name.invalid", facts.filename, "name-version-build-python-abi-platform.whl", str(error))
        return
    if facts.filename != expected.cell.wheel:
        yield Finding("name.plan", facts.filename, expected.cell.wheel, facts.filename)
    if facts.archive:
        folder = f"{name.replace('-', '_')}-{version}.dist-info"
        if facts.dist_info != folder:
            yield Finding("name.dist-info", "", folder, facts.dist_info or "none, or several")


def check_wheel(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """The WHEEL file (PEP 427) says what the planned file name says."""
    if facts.archive is None:
        return
    where = f"{facts.dist_info}/WHEEL"
    if facts.wheel is None:
        yield Finding("wheel.missing", where, "a WHEEL file", "none")
        return
    version = str(facts.wheel.get("Wheel-Version", ""))
    if version != "1.0":
        yield Finding("wheel.version", where, "Wheel-Version: 1.0", version or "none")
    if str(facts.wheel.get("Root-Is-Purelib", "")).lower() != "false":
        seen = str(facts.wheel.get("Root-Is-Purelib", "none"))
        yield Finding("wheel.purelib", where, "Root-Is-Purelib: false", seen)
    try:
        build, tags = parse_wheel_filename(expected.cell.wheel)[2:]
    except InvalidWheelFilename:
        return
    written = {_tag(line) for line in map(str, facts.wheel.get_all("Tag", []))}
    if written != tags:
        yield Finding("wheel.tag", where, _spell(tags), _spell({tag for tag in written if tag}) or "none")
    wanted = "".join(map(str, build))
    seen = str(facts.wheel.get("Build", ""))
    if seen != wanted:
        yield Finding("wheel.build", where, f"Build: {wanted}", seen or "none")


def _tag(line: str) -> Tag | None:
    parts = line.strip().split("-")
    return Tag(*parts) if len(parts) == 3 else None  # noqa: PLR2004


def _spell(tags: set[Tag] | frozenset[Tag]) -> str:
    return ", ".join(sorted(map(str, tags)))


def check_metadata(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """METADATA is valid, of this project and version, and ties the wheel to its Python and its torch."""
    if facts.archive is None:
        return
    where = f"{facts.dist_info}/METADATA"
    if facts.metadata is None:
        yield Finding("metadata.missing", where, "a METADATA file", "none")
        return
    try:
        metadata = Metadata.from_email(facts.metadata, validate=True)
    except ExceptionGroup as group:
        for error in _flat(group):
            field = error.field if isinstance(error, InvalidMetadata) else where
            yield Finding("metadata.invalid", field, "core metadata as packaging validates it", str(error))
        return
    except (ValueError, UnicodeDecodeError) as error:
        yield Finding("metadata.invalid", where, "core metadata as packaging validates it", str(error))
        return
    cell = expected.cell
    if canonicalize_name(metadata.name) != canonicalize_name(cell.combo.package):
        yield Finding("metadata.name", where, cell.combo.package, metadata.name)
    if metadata.version != Version(cell.version):
        yield Finding("metadata.version", where, cell.version, str(metadata.version))
    python = cell.combo.python.rstrip("t")
    if metadata.requires_python is None or not metadata.requires_python.contains(python):
        yield Finding("metadata.python", where, f"Requires-Python that admits {python}", str(metadata.requires_python))
    yield from _check_requirements(metadata, where, cell.torch_requirement)
    if not metadata.license_expression:
        yield Finding("metadata.licence", where, "License-Expression", "none")
    files = metadata.license_files or []
    if not files:
        yield Finding("metadata.licence-file", where, "at least one License-File", "none")
    for name in files:
        if f"{facts.dist_info}/licenses/{name}" not in facts.contents:
            yield Finding("metadata.licence-file", name, "a member below .dist-info/licenses/", "no such member")


def _check_requirements(metadata: Metadata, where: str, wanted: str) -> Iterator[Finding]:
    requirements = metadata.requires_dist or []
    for requirement in requirements:
        if requirement.url:
            yield Finding("metadata.direct-url", where, f"a version of {requirement.name}", requirement.url)
    torch = [r for r in requirements if canonicalize_name(r.name) == "torch"]
    seen = ", ".join(map(str, torch)) or "none"
    if len(torch) != 1 or torch[0].marker or re.sub(r"\s", "", str(torch[0])) != re.sub(r"\s", "", wanted):
        yield Finding("metadata.torch", where, f"Requires-Dist: {wanted}", seen)


def _flat(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error
