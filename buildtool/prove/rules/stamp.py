"""record.json, the wheel's own account of what it is, against the plan."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from buildtool.plan.cells import Cell
from buildtool.prove.facts import NATIVE, Facts
from buildtool.prove.findings import Finding
from buildtool.prove.rules import Expectation

FORMAT = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def check_stamp(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """Every field that the plan determines has the plan's value."""
    if facts.archive is None:
        return
    cell = expected.cell
    path = f"{cell.combo.package}/{NATIVE}record.json"
    if facts.stamp_path != path:
        yield Finding("stamp.missing", path, "a record.json", facts.stamp_path or "none")
        return
    if facts.stamp is None:
        yield Finding("stamp.malformed", path, "a JSON object", facts.problems[path])
        return
    if facts.stamp.get("format") != FORMAT:
        yield Finding("stamp.format", path, str(FORMAT), repr(facts.stamp.get("format")))
        return
    for key, code, wanted in _wanted(cell):
        seen = facts.stamp.get(key)
        if seen != wanted or type(seen) is not type(wanted):
            yield Finding(code, f"{path}: {key}", repr(wanted), repr(seen))
    digest = facts.stamp.get("source_digest")
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        yield Finding(
            "stamp.source-digest", f"{path}: source_digest", "sha256: and 64 hexadecimal digits", repr(digest)
        )
    yield from _check_instances(facts, path)


def _wanted(cell: Cell) -> Iterator[tuple[str, str, Any]]:
    combo = cell.combo
    yield "distribution", "stamp.distribution", combo.package
    yield "version", "stamp.version", cell.version
    yield "build_tag", "stamp.build-tag", cell.build_tag
    yield "torch", "stamp.torch", combo.torch
    yield "torch_requirement", "stamp.torch-requirement", cell.torch_requirement
    yield "cuda", "stamp.cuda", combo.cuda
    yield "python", "stamp.python", combo.python
    yield "platform", "stamp.platform", combo.platform
    yield "archs", "stamp.archs", list(cell.archs)
    yield "min_driver", "stamp.min-driver", cell.min_driver
    yield "pins", "stamp.pins", asdict(cell.pins)
    yield "cxx_standard", "stamp.cxx-standard", cell.cxx_standard


def _check_instances(facts: Facts, path: str) -> Iterator[Finding]:
    """The record lists exactly the members that the archives hold."""
    claimed = facts.stamp.get("instances") if facts.stamp else None
    held = {
        arch: sorted(image.member.name.removesuffix(".cubin") for image in images)
        for arch, images in facts.cubins.items()
        if images is not None
    }
    if (
        not isinstance(claimed, dict)
        or {a: n for a, n in claimed.items() if facts.cubins.get(a, ()) is not None} != held
    ):
        seen = (
            claimed if not isinstance(claimed, dict) else {a: len(n) for a, n in claimed.items() if isinstance(n, list)}
        )
        expected = {arch: len(names) for arch, names in held.items()}
        yield Finding("stamp.instances", f"{path}: instances", f"the names in the archives ({expected})", repr(seen))
