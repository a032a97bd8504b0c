"""Package indexes as static files: one per (CUDA, torch), so that an installer cannot choose a wheel for another torch.

pip and uv take the highest version and, among equal versions, the highest build tag; neither looks at the torch that is
installed, and both would rather replace it than take another wheel. An index that holds the wheels of one CUDA version
and one torch minor release alone leaves them no wrong choice.

Formats: PEP 503 (pages), PEP 691 (JSON), PEP 658 and 714 (metadata files), PEP 700 (sizes and versions), PEP 740
(provenance).
"""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from buildtool.publish.dist import PublishedWheel

API_VERSION = "1.1"
MANIFEST = "wheels.json"
MANIFEST_FORMAT = 2
FILES = "files"
REPORTS = "reports"


@dataclass(frozen=True)
class Hosting:
    """Where the wheels are served from."""

    base_url: str = ""
    """Folder URL of the wheels, e.g. a GitHub release's download URL; empty if the site itself serves them."""
    with_metadata: bool = True
    """Whether ``NAME.whl.metadata`` is served beside each wheel."""
    provenance: Mapping[str, str] | None = None
    """Wheel name → absolute URL of its provenance object (PEP 740)."""

    def url(self, name: str, depth: int) -> str:
        """The link to a wheel from a page ``depth`` folders below the site's root."""
        return (
            f"{self.base_url.rstrip('/')}/{quote(name)}" if self.base_url else f"{'../' * depth}{FILES}/{quote(name)}"
        )


def render_indexes(wheels: Sequence[PublishedWheel], hosting: Hosting) -> dict[str, bytes]:
    """Every page of every channel, by path below the site's root. Equal input gives equal bytes."""
    files: dict[str, bytes] = {}
    for channel, members in itertools.groupby(_sorted(wheels), key=lambda wheel: wheel.channel):
        projects: list[str] = []
        for package, group in itertools.groupby(members, key=lambda wheel: wheel.package):
            rows = list(group)
            projects.append(package)
            depth = channel.count("/") + 2
            files[f"{channel}/{package}/index.html"] = _project_page(package, rows, hosting, depth).encode()
            files[f"{channel}/{package}/index.json"] = _json(_project_json(package, rows, hosting, depth))
        files[f"{channel}/index.html"] = _root_page(channel, projects).encode()
        files[f"{channel}/index.json"] = _json(
            {"meta": {"api-version": API_VERSION}, "projects": [{"name": project} for project in projects]}
        )
    if not hosting.base_url and hosting.with_metadata:
        files |= {f"{FILES}/{wheel.name}.metadata": wheel.metadata for wheel in wheels}
    return files


def render_reports(wheels: Iterable[PublishedWheel]) -> dict[str, bytes]:
    """The verification report of every wheel, by path below the site's root."""
    return {_report_path(wheel): wheel.report for wheel in wheels}


def render_manifest(wheels: Sequence[PublishedWheel], hosting: Hosting) -> bytes:
    """``wheels.json``: every wheel with its plan, its hashes, and where its report is and what that says."""
    rows = [
        {
            "name": wheel.name,
            "package": wheel.package,
            "version": wheel.version,
            "channel": wheel.channel,
            "url": hosting.url(wheel.name, 0),
            "sha256": wheel.sha256,
            "size": wheel.size,
            "metadata_sha256": wheel.metadata_sha256,
            "requires_python": wheel.requires_python,
            "provenance": (hosting.provenance or {}).get(wheel.name, ""),
            "plan": dict(wheel.cell),
            "report": {
                "url": quote(_report_path(wheel)),
                "sha256": wheel.report_sha256,
                "level": wheel.level,
                "warnings": list(wheel.warnings),
            },
        }
        for wheel in _sorted(wheels)
    ]
    channels = sorted({wheel.channel for wheel in wheels})
    return _json({"format": MANIFEST_FORMAT, "channels": channels, "wheels": rows})


def _report_path(wheel: PublishedWheel) -> str:
    return f"{REPORTS}/{wheel.name.removesuffix('.whl')}.json"


def _sorted(wheels: Iterable[PublishedWheel]) -> list[PublishedWheel]:
    return sorted(wheels, key=lambda wheel: (wheel.channel, wheel.package, wheel.name))


def _json(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _page(title: str, lines: Iterable[str]) -> str:
    body = "\n".join(lines)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n<title>{html.escape(title)}</title>\n</head>\n'
        f"<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _root_page(channel: str, projects: Iterable[str]) -> str:
    return _page(f"Packages for {channel}", (f'<a href="{quote(p)}/">{html.escape(p)}</a><br>' for p in projects))


def _project_page(package: str, wheels: Iterable[PublishedWheel], hosting: Hosting, depth: int) -> str:
    return _page(f"Links for {package}", (_link(wheel, hosting, depth) for wheel in wheels))


def _link(wheel: PublishedWheel, hosting: Hosting, depth: int) -> str:
    attributes = {"href": f"{hosting.url(wheel.name, depth)}#sha256={wheel.sha256}"}
    if wheel.requires_python:
        attributes["data-requires-python"] = wheel.requires_python
    if hosting.with_metadata:
        # PEP 714: the second name is what clients from before it look for.
        for name in ("data-core-metadata", "data-dist-info-metadata"):
            attributes[name] = f"sha256={wheel.metadata_sha256}"
    if provenance := (hosting.provenance or {}).get(wheel.name):
        attributes["data-provenance"] = provenance
    spelled = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {spelled}>{html.escape(wheel.name)}</a><br>"


def _project_json(package: str, wheels: Sequence[PublishedWheel], hosting: Hosting, depth: int) -> dict[str, Any]:
    return {
        "meta": {"api-version": API_VERSION},
        "name": package,
        "versions": sorted({wheel.version for wheel in wheels}),
        "files": [_file_json(wheel, hosting, depth) for wheel in wheels],
    }


def _file_json(wheel: PublishedWheel, hosting: Hosting, depth: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "filename": wheel.name,
        "url": hosting.url(wheel.name, depth),
        "hashes": {"sha256": wheel.sha256},
        "size": wheel.size,
        "yanked": False,
    }
    if wheel.requires_python:
        row["requires-python"] = wheel.requires_python
    if hosting.with_metadata:
        row["core-metadata"] = row["dist-info-metadata"] = {"sha256": wheel.metadata_sha256}
    if provenance := (hosting.provenance or {}).get(wheel.name):
        row["provenance"] = provenance
    return row
