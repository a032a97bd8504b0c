"""A distribution folder of small wheels with passing reports, for every cell of a plan."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from buildtool.plan.cells import Cell
from buildtool.plan.matrix import load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select

EPOCH = (2020, 2, 2, 0, 0, 0)


def cells_of(root: Path, *words: str) -> tuple[Cell, ...]:
    """The cells of a selection of the project's own matrix."""
    matrix = load_matrix(root / "matrix.toml")
    return make_plan(matrix, select(matrix, list(words))).cells


def write_wheel(cell: Cell, folder: Path, level: str = "import") -> Path:
    """A wheel with the cell's name, tags and requirements, a module that says so, and its report."""
    package = cell.combo.package
    info = f"{package}-{cell.version}.dist-info"
    tag = "-".join(cell.wheel.removesuffix(".whl").split("-")[-3:])
    files = {
        f"{package}/__init__.py": f"BUILD = {cell.build_tag!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {package}\nVersion: {cell.version}\n"
        f"Requires-Python: >=3.9\nRequires-Dist: {cell.torch_requirement}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: buildtool\nRoot-Is-Purelib: false\n"
        f"Build: {cell.build_tag}\nTag: {tag}\n",
    }
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows.append(f"{name},sha256={digest},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / cell.wheel
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), text)
    report = {
        "ok": True,
        "level": level,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cell": asdict(cell),
        "findings": [],
    }
    path.with_suffix(".json").write_text(json.dumps(report))
    return path


def write_dist(cells: Iterable[Cell], folder: Path) -> Path:
    """A folder with a wheel for each cell."""
    for cell in cells:
        write_wheel(cell, folder)
    return folder


def attestation_of(name: str, sha256: str, **changes: Any) -> dict[str, Any]:
    """Something of the form of a PEP 740 attestation."""
    subject = {"name": name, "digest": {"sha256": sha256}}
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": [subject], **changes}
    return {
        "version": 1,
        "verification_material": {"certificate": "AAAA", "transparency_entries": [{}]},
        "envelope": {"statement": base64.b64encode(json.dumps(statement).encode()).decode(), "signature": "AAAA"},
    }


def write_attestation(wheel: Path, document: Any) -> Path:
    """Put an attestation beside a wheel, under the name that `pypi_attestations sign` gives it."""
    path = wheel.with_name(f"{wheel.name}.publish.attestation")
    path.write_text(json.dumps(document))
    return path
