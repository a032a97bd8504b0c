"""The verified wheels of a distribution folder: nothing else is ever published."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.metadata import parse_email
from packaging.utils import canonicalize_name

from buildtool.errors import PublishError
from buildtool.plan.tags import minor_of


@dataclass(frozen=True)
class PublishedWheel:
    """One verified wheel and everything that an index says of it."""

    path: Path
    name: str
    """File name."""
    package: str
    """Normalized project name (PEP 503)."""
    version: str
    sha256: str
    size: int
    metadata: bytes
    """Its METADATA file, byte for byte (PEP 658)."""
    requires_python: str
    cell: Mapping[str, Any]
    """The cell of its verification report, the combo's fields among the others."""
    report: bytes
    """Its verification report, byte for byte."""
    level: str
    """How far the report says that it was verified."""
    warnings: tuple[str, ...]
    """Codes of the findings that verification let pass."""

    @property
    def channel(self) -> str:
        """The one index that serves it, e.g. ``cu128/torch2.8``."""
        return channel_of(str(self.cell["cuda"]), str(self.cell["torch"]))

    @property
    def metadata_sha256(self) -> str:
        return hashlib.sha256(self.metadata).hexdigest()

    @property
    def report_sha256(self) -> str:
        return hashlib.sha256(self.report).hexdigest()


def channel_of(cuda: str, torch: str) -> str:
    """``("12.8", "2.8.0")`` → ``cu128/torch2.8``: one channel per CUDA version and torch minor release."""
    return f"cu{cuda.replace('.', '')}/torch{minor_of(torch)}"


def read_dist(folder: Path) -> tuple[PublishedWheel, ...]:
    """Read a folder of wheels with reports beside them, sorted by channel, package and name.

    Raises PublishError naming every wheel that has no report, did not pass, or changed since.
    """
    paths = sorted(folder.glob("*.whl"))
    if not paths:
        raise PublishError(f"no wheels in {folder}", "build some first: python -m buildtool build")
    refused: list[str] = []
    found: list[PublishedWheel] = []
    with ThreadPoolExecutor() as pool:
        for path, outcome in zip(paths, pool.map(_read, paths), strict=True):
            if isinstance(outcome, str):
                refused.append(f"{path.name}: {outcome}")
            else:
                found.append(outcome)
    if refused:
        raise PublishError(
            "these wheels are not verified:\n" + "\n".join(refused), "build or verify them again, or move them away"
        )
    return tuple(sorted(found, key=lambda wheel: (wheel.channel, wheel.package, wheel.name)))


def _read(path: Path) -> PublishedWheel | str:
    """The wheel, or why it cannot be published."""
    try:
        written = path.with_suffix(".json").read_bytes()
        report: dict[str, Any] = json.loads(written)
        cell = {**report["cell"]["combo"], **{k: v for k, v in report["cell"].items() if k != "combo"}}
        expected, passed, level = str(report["sha256"]), report["ok"] is True, str(report["level"])
        warnings = tuple(
            sorted({str(finding["code"]) for finding in report["findings"] if finding["level"] == "warning"})
        )
        declared = str(cell["wheel"])
        channel_of(str(cell["cuda"]), str(cell["torch"]))
    except FileNotFoundError:
        return "there is no verification report beside it"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its report cannot be read ({error!r})"
    if not passed:
        return "its report says that it did not pass"
    if declared != path.name:
        return f"its report is of {declared}"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        return "it is not the file that was verified (SHA-256 differs from the report)"
    try:
        with zipfile.ZipFile(path) as archive:
            (member,) = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
            metadata = archive.read(member)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return f"its METADATA cannot be read ({error})"
    fields, _ = parse_email(metadata)
    return PublishedWheel(
        path=path,
        name=path.name,
        package=canonicalize_name(fields.get("name", "")),
        version=fields.get("version", ""),
        sha256=digest,
        size=path.stat().st_size,
        metadata=metadata,
        requires_python=fields.get("requires_python", ""),
        cell=cell,
        report=written,
        level=level,
        warnings=warnings,
    )
