"""The bill of materials in the wheel: there, CycloneDX 1.6, and of this wheel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from buildtool.prove.facts import Facts
from buildtool.prove.findings import Finding
from buildtool.prove.rules import Expectation
from buildtool.prove.sbom import LOCKED, SPEC_VERSION, pinned_components

_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_sbom(facts: Facts, expected: Expectation) -> Iterator[Finding]:
    """PEP 770: at least one document below ``.dist-info/sboms/``; ours names the package, its pins and its source."""
    if facts.archive is None or facts.dist_info is None:
        return
    if not facts.sboms:
        yield Finding("sbom.missing", f"{facts.dist_info}/sboms/", "a CycloneDX document", "none")
    for name, document in facts.sboms.items():
        if document is None:
            yield Finding("sbom.malformed", name, "a JSON object", facts.problems[name])
            continue
        form = f"{document.get('bomFormat')} {document.get('specVersion')}"
        if form != f"CycloneDX {SPEC_VERSION}":
            yield Finding("sbom.format", name, f"CycloneDX {SPEC_VERSION}", form)
            continue
        yield from _check_document(name, document, facts, expected)


def _check_document(name: str, document: Mapping[str, Any], facts: Facts, expected: Expectation) -> Iterator[Finding]:
    cell = expected.cell
    metadata = document.get("metadata")
    subject = metadata.get("component") if isinstance(metadata, dict) else None
    subject = subject if isinstance(subject, dict) else {}
    seen = f"{subject.get('name')} {subject.get('version')}"
    if seen != f"{cell.combo.package} {cell.version}":
        yield Finding("sbom.subject", name, f"{cell.combo.package} {cell.version}", seen)
    components = document.get("components")
    rows = [row for row in components if isinstance(row, dict)] if isinstance(components, list) else []
    listed = {(str(row.get("name")), str(row.get("version"))) for row in rows}
    for pin in sorted(pinned_components(cell.pins.all()) - listed):
        yield Finding("sbom.pins", name, "==".join(pin), "no such component")
    for row in rows:
        if not any(key == LOCKED and _SHA256.fullmatch(str(value)) for key, value in _properties(row)):
            yield Finding("sbom.hashes", name, f"the SHA-256 of {row.get('name')}'s files", "none")
    values = dict(_properties(subject))
    digest = facts.stamp.get("source_digest") if facts.stamp else None
    if digest is not None and values.get("buildtool:source_digest") != digest:
        yield Finding("sbom.digest", name, str(digest), str(values.get("buildtool:source_digest")))


def _properties(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The (name, value) pairs of a component."""
    properties = row.get("properties")
    pairs = properties if isinstance(properties, list) else []
    return [(str(pair.get("name")), pair.get("value")) for pair in pairs if isinstance(pair, dict)]
