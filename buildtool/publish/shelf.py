"""The output folder as a release sees it: which wheels count, and why the others do not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from buildtool.make.outbox import report_path
from buildtool.publish.attestations import files_beside, read_attestation
from buildtool.publish.release import File, Wheel


def read_shelf(folder: Path) -> tuple[dict[str, Wheel], dict[str, str]]:
    """The verified wheels of ``folder`` by name, and for every other wheel the reason why it does not count."""
    verified: dict[str, Wheel] = {}
    refused: dict[str, str] = {}
    for path in sorted(folder.glob("*.whl")):
        try:
            report: Mapping[str, Any] = json.loads(report_path(path).read_bytes())
            passed, reported, level = bool(report["ok"]), str(report["sha256"]), str(report["level"])
        except (OSError, ValueError, KeyError, TypeError):
            refused[path.name] = "it has no readable report beside it"
            continue
        digest = _sha256(path)
        if digest != reported.removeprefix("sha256:"):
            refused[path.name] = "its bytes are not those of its report"
        elif not passed:
            refused[path.name] = "its report says that it did not pass"
        else:
            verified[path.name] = Wheel(path.name, digest, path.stat().st_size, level)
    return verified, refused


def attestations_of(wheels: Iterable[Wheel], folder: Path) -> dict[str, File]:
    """The attestations beside these wheels, by name. Raises PublishError for one of anything but its wheel."""
    beside = files_beside([folder])
    paths = [(path, wheel.sha256) for wheel in wheels for path in beside.get(folder / wheel.name, ())]
    for path, sha256 in paths:
        read_attestation(path, sha256)
    return {path.name: File(path.name, _sha256(path), path.stat().st_size) for path, _ in paths}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def newest_evidence(results: Path) -> str:
    """The source digest of the newest passing GPU results in ``results``; empty if there are none."""
    newest: tuple[str, str] = ("", "")
    for path in results.glob("gpu_tests-*.json"):
        try:
            document = json.loads(path.read_bytes())
            row = (str(document["taken"]), str(document["source_digest"]))
            passed = not document["counts"].get("failed") and document["counts"]["passed"] > 0
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if passed:
            newest = max(newest, row)
    return newest[1]
