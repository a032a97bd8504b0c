"""Pages of a simple repository, as HTML (PEP 503) and as JSON (PEP 691, PEP 700). Pure."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

API_VERSION = "1.1"


@dataclass(frozen=True)
class File:
    """What a page says of one file."""

    name: str
    version: str
    url: str
    sha256: str
    size: int
    requires_python: str = ""
    metadata_sha256: str = ""
    provenance: str = ""
    """Absolute URL (PEP 740)."""


def render_root(channel: str, projects: Sequence[str]) -> tuple[bytes, bytes]:
    """The list of projects, as HTML and as JSON."""
    links = (f'<a href="{quote(p)}/">{html.escape(p)}</a><br>' for p in projects)
    document = {"meta": {"api-version": API_VERSION}, "projects": [{"name": project} for project in projects]}
    return _page(f"Packages for {channel}", links).encode(), spell(document)


def render_project(package: str, files: Sequence[File]) -> tuple[bytes, bytes]:
    """The files of one project, as HTML and as JSON."""
    return _page(f"Links for {package}", map(_link, files)).encode(), spell(_project_json(package, files))


def spell(value: Any) -> bytes:
    """JSON that is the same for equal values."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _page(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n<title>{html.escape(title)}</title>\n</head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _link(file: File) -> str:
    attributes = {"href": f"{file.url}#sha256={file.sha256}"}
    if file.requires_python:
        attributes["data-requires-python"] = file.requires_python
    if file.metadata_sha256:
        # PEP 714: the second name is what clients from before it look for.
        for name in ("data-core-metadata", "data-dist-info-metadata"):
            attributes[name] = f"sha256={file.metadata_sha256}"
    if file.provenance:
        attributes["data-provenance"] = file.provenance
    spelled = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {spelled}>{html.escape(file.name)}</a><br>"


def _project_json(package: str, files: Sequence[File]) -> dict[str, Any]:
    return {
        "meta": {"api-version": API_VERSION},
        "name": package,
        "versions": sorted({file.version for file in files if file.version}),
        "files": [_file_json(file) for file in files],
    }


def _file_json(file: File) -> dict[str, Any]:
    row: dict[str, Any] = {
        "filename": file.name,
        "url": file.url,
        "hashes": {"sha256": file.sha256},
        "size": file.size,
        "yanked": False,
    }
    if file.requires_python:
        row["requires-python"] = file.requires_python
    if file.metadata_sha256:
        row["core-metadata"] = row["dist-info-metadata"] = {"sha256": file.metadata_sha256}
    if file.provenance:
        row["provenance"] = file.provenance
    return row
