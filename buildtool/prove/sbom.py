"""The bill of materials inside the wheel: CycloneDX 1.6 JSON in ``.dist-info/sboms/`` (PEP 770).

It names what the machine code was made from and with: the source, its commit, and the exact pins of the toolchain with
their hashes. It has no time and no random serial number, so equal builds have equal documents.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from packaging.requirements import Requirement

from buildtool.plan.cells import Cell

SPEC_VERSION = "1.6"
LOCKED = "buildtool:locked-sha256"
_NAMESPACE = uuid.UUID("6f0a1d0e-6f0c-5d8b-9a53-2d9c1d1f7b10")


def sbom_path(cell: Cell) -> str:
    """Where the document stands in the wheel."""
    return f"{cell.combo.package}-{cell.version}.dist-info/sboms/{cell.combo.package}.cdx.json"


def render_sbom(
    cell: Cell, source_digest: str, *, commit: str | None = None, hashes: Mapping[str, Sequence[str]] | None = None
) -> bytes:
    """Render the document.

    ``source_digest`` is the record's (``sha256:…``), ``commit`` the source revision where it is known, ``hashes`` the
    SHA-256 of the files that the lock accepts for each pin, by requirement (``torch==2.8.0``).
    """
    subject = f"pkg:pypi/{cell.combo.package}@{cell.version}"
    digest = source_digest.removeprefix("sha256:")
    properties = {
        "buildtool:build_tag": cell.build_tag,
        "buildtool:cuda": cell.combo.cuda,
        "buildtool:torch": cell.combo.torch,
        "buildtool:platform": cell.combo.platform,
        "buildtool:source_digest": source_digest,
        **({"buildtool:commit": commit} if commit else {}),
    }
    tools = [_component(pin, (hashes or {}).get(pin, ())) for pin in dict.fromkeys(cell.pins.all())]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, cell.wheel + source_digest + (commit or ''))}",
        "metadata": {
            "lifecycles": [{"phase": "build"}],
            "component": {
                "type": "library",
                "bom-ref": subject,
                "name": cell.combo.package,
                "version": cell.version,
                "purl": subject,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "properties": [{"name": key, "value": value} for key, value in sorted(properties.items())],
            },
        },
        "components": tools,
        "dependencies": [
            {"ref": subject, "dependsOn": sorted(tool["bom-ref"] for tool in tools)},
            *({"ref": tool["bom-ref"]} for tool in sorted(tools, key=lambda tool: str(tool["bom-ref"]))),
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def pinned_components(pins: tuple[str, ...]) -> set[tuple[str, str]]:
    """(name, version) of each pin."""
    found = set()
    for pin in pins:
        requirement = Requirement(pin)
        found.add((requirement.name, str(requirement.specifier).removeprefix("==")))
    return found


def _component(pin: str, hashes: Sequence[str]) -> dict[str, Any]:
    ((name, version),) = pinned_components((pin,))
    purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "scope": "excluded",
    }
    if hashes:  # properties, since CycloneDX's own `hashes` are of one file, and a release has one for each system
        component["properties"] = [{"name": LOCKED, "value": value} for value in sorted(hashes)]
    return component
