"""Package indexes as static files: one per (CUDA, torch), so that an installer cannot choose a wheel for another torch.

pip and uv take the highest version and, among equal versions, the highest build tag; neither looks at the torch that is
installed, and both would rather replace it than take another wheel. An index that holds the wheels of one CUDA version
and one torch minor release alone leaves them no wrong choice.

Formats: PEP 503 (pages), PEP 691 (JSON), PEP 658 and 714 (metadata files), PEP 700 (sizes and versions), PEP 740
(provenance).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from buildtool.publish.dist import PublishedWheel
from buildtool.publish.simple import File, render_project, render_root, spell

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


@dataclass(frozen=True)
class Extra:
    """A further file that a package's page links."""

    package: str
    name: str
    content: bytes


def render_indexes(wheels: Sequence[PublishedWheel], hosting: Hosting) -> dict[str, bytes]:
    """Every page of every channel, by path below the site's root. Equal input gives equal bytes."""
    files: dict[str, bytes] = {}
    for channel, members in itertools.groupby(_sorted(wheels), key=lambda wheel: wheel.channel):
        files |= render_channel(channel, tuple(members), hosting)
    if not hosting.base_url and hosting.with_metadata:
        files |= {f"{FILES}/{wheel.name}.metadata": wheel.metadata for wheel in wheels}
    return files


def render_channel(
    channel: str, wheels: Sequence[PublishedWheel], hosting: Hosting, extras: Sequence[Extra] = ()
) -> dict[str, bytes]:
    """The pages of one index, and the extra files beside the page of their package."""
    files: dict[str, bytes] = {}
    projects: list[str] = []
    for package, group in itertools.groupby(_sorted(wheels), key=lambda wheel: wheel.package):
        projects.append(package)
        depth = channel.count("/") + 2
        own = [extra for extra in extras if extra.package == package]
        rows = [*(_of_wheel(wheel, hosting, depth) for wheel in group), *map(_of_extra, own)]
        place = f"{channel}/{package}"
        files[f"{place}/index.html"], files[f"{place}/index.json"] = render_project(package, rows)
        files |= {f"{channel}/{package}/{extra.name}": extra.content for extra in own}
    files[f"{channel}/index.html"], files[f"{channel}/index.json"] = render_root(channel, projects)
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
    return spell({"format": MANIFEST_FORMAT, "channels": channels, "wheels": rows})


def _report_path(wheel: PublishedWheel) -> str:
    return f"{REPORTS}/{wheel.name.removesuffix('.whl')}.json"


def _sorted(wheels: Iterable[PublishedWheel]) -> list[PublishedWheel]:
    return sorted(wheels, key=lambda wheel: (wheel.channel, wheel.package, wheel.name))


def _of_wheel(wheel: PublishedWheel, hosting: Hosting, depth: int) -> File:
    return File(
        wheel.name,
        wheel.version,
        hosting.url(wheel.name, depth),
        wheel.sha256,
        wheel.size,
        wheel.requires_python,
        wheel.metadata_sha256 if hosting.with_metadata else "",
        (hosting.provenance or {}).get(wheel.name, ""),
    )


def _of_extra(extra: Extra) -> File:
    return File(extra.name, "", quote(extra.name), hashlib.sha256(extra.content).hexdigest(), len(extra.content))
