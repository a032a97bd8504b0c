"""Attestations that lie beside the wheels (PEP 740): checked to be of these very files, and wrapped for the index.

``python -m pypi_attestations sign`` writes them as ``NAME.whl.publish.attestation``; ``… convert`` makes one of a
Sigstore bundle. Signatures are for whoever installs: what is checked here is that an attestation speaks of the wheel
that it lies beside.
"""

from __future__ import annotations

import base64
import itertools
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
    found: dict[str, bytes] = {}
    members = {wheel.path: wheel for wheel in wheels}
    files = sorted(path for folder in {path.parent for path in members} for path in folder.glob("*.whl.*.attestation"))
    for place, group in itertools.groupby(files, key=lambda path: path.with_name(f"{path.name.split('.whl.')[0]}.whl")):
        wheel, paths = members.get(place), list(group)
        if wheel is None:
            raise PublishError(f"{paths[0].name} lies beside no wheel", "move it away")
        if not publisher:
            raise PublishError(
                f"{paths[0].name} is an attestation, and an index must say who made it",
                "say --publisher kind=GitHub repository=OWNER/NAME workflow=release.yml",
            )
        bundle = {"publisher": publisher, "attestations": [_read(path, wheel) for path in paths]}
        document = {"version": 1, "attestation_bundles": [bundle]}
        found[wheel.name] = (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()
    return found


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


def _read(path: Path, wheel: PublishedWheel) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
        statement = json.loads(base64.b64decode(document["envelope"]["statement"], validate=True))
        subjects = [(subject["name"], subject["digest"]["sha256"]) for subject in statement["subject"]]
        complete = document["version"] == 1 and document["verification_material"] and document["envelope"]["signature"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishError(f"{path.name} is no attestation ({error!r})", "make it again, or move it away") from error
    if not complete or subjects != [(wheel.name, wheel.sha256)]:
        raise PublishError(
            f"{path.name} is an attestation of {subjects}, not of these bytes of {wheel.name}",
            "attest the wheel that is there, or move the attestation away",
        )
    return document
