"""Attestations that lie beside the wheels (PEP 740): checked to be of these very files, and wrapped for the index.

``python -m pypi_attestations sign`` writes them as ``NAME.whl.publish.attestation``; ``… convert`` makes one of a
Sigstore bundle, if that speaks of one file. Signatures are for whoever installs: what is checked here is that an
attestation speaks of the wheel that it lies beside, and of nothing else.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from buildtool.errors import PublishError, UsageError
from buildtool.publish.dist import PublishedWheel

FOLDER = "provenance"


def read_provenance(wheels: Iterable[PublishedWheel], publisher: Mapping[str, str]) -> dict[str, bytes]:
    """Wheel name → provenance object, for the wheels that have attestations.

    Raises PublishError for an attestation of another file, and if there are attestations and no ``publisher``.
    """
    members = {wheel.path: wheel for wheel in wheels}
    beside = files_beside({path.parent for path in members})
    if stray := sorted(path.name for wheel, paths in beside.items() if wheel not in members for path in paths):
        raise PublishError(f"{stray[0]} lies beside no wheel", "move it away")
    if beside and not publisher:
        raise PublishError(
            f"{min(min(beside.values())).name} is an attestation, and an index must say who made it",
            "say --publisher kind=GitHub repository=OWNER/NAME workflow=release.yml",
        )
    return {
        members[wheel].name: _provenance([read_attestation(path, members[wheel].sha256) for path in paths], publisher)
        for wheel, paths in beside.items()
    }


def files_beside(folders: Iterable[Path]) -> dict[Path, list[Path]]:
    """Wheel → the attestations that lie beside it, whether or not the wheel is there."""
    found: dict[Path, list[Path]] = {}
    for path in sorted(path for folder in folders for path in folder.glob("*.whl.*.attestation")):
        found.setdefault(_wheel_of(path), []).append(path)
    return found


def _wheel_of(path: Path) -> Path:
    return path.with_name(f"{path.name.split('.whl.')[0]}.whl")


def _provenance(attestations: Iterable[Mapping[str, Any]], publisher: Mapping[str, str]) -> bytes:
    bundle = {"publisher": publisher, "attestations": list(attestations)}
    document = {"version": 1, "attestation_bundles": [bundle]}
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def provenance_path(wheel: str) -> str:
    """Where the site has the provenance object of a wheel."""
    return f"{FOLDER}/{wheel}.json"


def provenance_urls(names: Iterable[str], site_url: str) -> dict[str, str]:
    """Wheel name → absolute URL of its provenance object: PEP 740 admits no relative ones."""
    found = {name: f"{site_url.rstrip('/')}/{quote(provenance_path(name))}" for name in names}
    if found and not site_url:
        raise UsageError("links to attestations must be absolute (PEP 740)", "say where the site will be: --site-url")
    return found


def parse_publisher(words: Iterable[str]) -> dict[str, str]:
    """``["kind=GitHub", "repository=o/n"]`` → the publisher object of PEP 740. Raises UsageError without a kind."""
    pairs = [word.partition("=") for word in words]
    publisher = {key: value for key, _, value in pairs}
    if pairs and (not publisher.get("kind") or not all(key and value for key, _, value in pairs)):
        raise UsageError("--publisher takes key=value words, and one of them is kind=", "for example kind=GitHub")
    return publisher


def read_attestation(path: Path, sha256: str) -> dict[str, Any]:
    """The attestation in a file. Raises PublishError for one of anything but the wheel beside it, with that digest."""
    wheel = _wheel_of(path).name
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        statement = json.loads(base64.b64decode(document["envelope"]["statement"], validate=True))
        subjects = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
        complete = document["version"] == 1 and document["verification_material"] and document["envelope"]["signature"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{path.name} is no attestation ({error!r})", "make it again, or move it away") from error
    if len(subjects) > 1:
        raise PublishError(
            f"{path.name} is one attestation of {len(subjects)} files, and PEP 740 wants one for each",
            f"sign the wheel by itself: python -m pypi_attestations sign {wheel}",
        )
    if not complete or subjects != [(wheel, sha256)]:
        raise PublishError(
            f"{path.name} is an attestation of {subjects}, not of these bytes of {wheel}",
            "attest the wheel that is there, or move the attestation away",
        )
    return document
