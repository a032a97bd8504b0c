"""Same inputs, same bytes: a wheel against one that was built again elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from buildtool.plan.cells import Cell
from buildtool.prove.ar import read_ar
from buildtool.prove.archive import read_archive
from buildtool.prove.findings import Finding
from buildtool.prove.reader import MalformedError

Builder = Callable[[Cell, Path], Path]
"""Builds one cell's wheel with caches of its own below a folder, and returns the wheel."""


def compare(name: str, first: bytes, second: bytes) -> Iterator[Finding]:
    """What differs between two builds of one wheel, down to the members; nothing if the bytes are equal."""
    if first == second:
        return
    try:
        ours, theirs = read_archive(first).contents, read_archive(second).contents
    except MalformedError as error:
        yield Finding("rebuild.differs", name, "two readable wheels", str(error))
        return
    differing = [member for member in sorted({*ours, *theirs}) if ours.get(member) != theirs.get(member)]
    for member in differing:
        yield from _member(member, ours.get(member), theirs.get(member))
    if not differing:
        yield Finding("rebuild.differs", name, "equal bytes", "equal members in zips that differ (order, time or mode)")


def _member(name: str, ours: bytes | None, theirs: bytes | None) -> Iterator[Finding]:
    if ours is None or theirs is None:
        yield Finding("rebuild.differs", name, "the member in both builds", "only one build has it")
        return
    if name.endswith(".ar"):
        try:
            first, second = ({m.name: m.data for m in read_ar(data)} for data in (ours, theirs))
        except MalformedError:
            pass
        else:
            kernels = [kernel for kernel in sorted({*first, *second}) if first.get(kernel) != second.get(kernel)]
            yield Finding("rebuild.differs", name, "equal cubins", ", ".join(kernels) or "other archive headers")
            return
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    yield Finding("rebuild.differs", name, "equal bytes", f"a difference from byte {at} on")
