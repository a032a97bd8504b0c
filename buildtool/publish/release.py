"""A release: its tag, what keeps it from being made, its notes, and what has to be uploaded. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildtool.errors import PublishError
from buildtool.plan.cells import Cell

MAX_ASSETS = 1000
MAX_ASSET_BYTES = 2 * 1024**3 - 1
"""GitHub's limits of a release: 1000 assets, each under 2 GiB (docs.github.com, "About releases")."""

_TAG = re.compile(r"v(?P<version>[0-9][0-9a-z.]*?)(?:-build\.(?P<build>[1-9][0-9]*))?\Z")
_HEADING = re.compile(r"^## \[?v?(?P<version>[0-9][^\]\s]*)\]?.*$", re.MULTILINE)


@dataclass(frozen=True, order=True)
class File:
    """A file that a release shall hold."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, order=True)
class Wheel(File):
    """A wheel in the distribution folder: its report says that it is verified, and its bytes are the reported ones."""

    level: str
    """How far it was verified: ``static``, ``import`` or ``gpu``."""


@dataclass(frozen=True)
class State:
    """Everything outside that decides whether a release can be made."""

    version: str
    tags: frozenset[str]
    stale: tuple[str, ...]
    """Generated files that differ from what would be generated."""
    dirty: tuple[str, ...]
    """Tracked files with changes that are not committed."""
    wheels: Mapping[str, Wheel]
    unverified: Mapping[str, str]
    """Wheels in the folder that do not count, with the reason."""
    evidence_digest: str
    """Source digest of the newest passing GPU results; empty if there are none."""
    kernel_digest: str
    changelog: str


@dataclass(frozen=True)
class Obstacle:
    """One reason why a release is not made, and the remedy."""

    what: str
    remedy: str


def version_of(tag: str) -> str:
    """The version that a tag belongs to; empty if it is no release tag."""
    match = _TAG.match(tag)
    return match["version"] if match else ""


def tag_key(tag: str) -> int:
    """Sort key among the tags of one version: the first release, then its rebuilds in order."""
    match = _TAG.match(tag)
    return int(match["build"] or 0) if match else -1


def next_tag(version: str, tags: Iterable[str]) -> str:
    """The tag of the next release of ``version``: ``v2.2.0``, then ``v2.2.0-build.1``, ``v2.2.0-build.2`` and so on.

    A rebuild is the same source version with new wheels; N counts up from the highest one that exists.
    """
    builds = [tag_key(tag) for tag in tags if version_of(tag) == version]
    return f"v{version}-build.{max(builds) + 1}" if builds else f"v{version}"


def changes(changelog: str, version: str) -> str:
    """The section of ``version`` in CHANGELOG.md, without its heading; empty if there is none."""
    for heading, following in itertools.pairwise([*_HEADING.finditer(changelog), None]):
        if heading is not None and heading["version"] == version:
            return changelog[heading.end() : following.start() if following else len(changelog)].strip()
    return ""


def assets_of(wheels: int) -> int:
    """How many files a release of so many wheels has: each comes with an attestation."""
    return 2 * wheels


def obstacles(cells: Sequence[Cell], state: State) -> tuple[Obstacle, ...]:
    """Everything that keeps ``cells`` from being released in ``state``; empty if nothing does."""
    found = [
        *(Obstacle(f"{path} has uncommitted changes", "commit or revert it") for path in state.dirty),
        *(
            Obstacle(f"{path} is not what would be rendered", "run `python -m buildtool render`")
            for path in state.stale
        ),
    ]
    for cell in cells:
        if cell.wheel in state.wheels:
            continue
        reason = state.unverified.get(cell.wheel, "it is not there")
        combo = cell.combo
        words = f"package={combo.package} torch={combo.torch} cuda={combo.cuda} python={combo.python}"
        remedy = f"run `nox -s build -- {words} platform={combo.platform}`"
        found.append(Obstacle(f"{cell.wheel} is not verified: {reason}", remedy))
    if not state.evidence_digest:
        found.append(
            Obstacle(
                "no GPU results have every test passed", "run `nox -s gpu_tests` on a GPU and commit what it writes"
            )
        )
    elif state.evidence_digest != state.kernel_digest:
        seen = f"GPU results are of source {state.evidence_digest}, the kernels are {state.kernel_digest}"
        found.append(Obstacle(seen, "run `nox -s gpu_tests` on a GPU and commit what it writes"))
    if not changes(state.changelog, state.version):
        found.append(Obstacle(f"CHANGELOG.md says nothing of {state.version}", f"add a section `## {state.version}`"))
    found.extend(
        Obstacle(f"{wheel.name} has {wheel.size:,} bytes; GitHub takes {MAX_ASSET_BYTES:,}", "ship fewer architectures")
        for wheel in state.wheels.values()
        if wheel.size > MAX_ASSET_BYTES
    )
    if assets_of(len(state.wheels)) > MAX_ASSETS:
        seen = f"{len(state.wheels)} wheels and their attestations; GitHub takes {MAX_ASSETS} assets"
        found.append(Obstacle(seen, "release the packages or platforms separately"))
    return tuple(found)


def notes(tag: str, cells: Sequence[Cell], wheels: Mapping[str, Wheel], changelog: str, version: str) -> str:
    """Release notes in Markdown: the changelog's section, and a table of the wheels that were verified, no others."""
    lines = [f"# {tag}", "", changes(changelog, version), "", "## Wheels", ""]
    lines += [
        "| PyTorch | CUDA | Python | platform | GPUs | verified | wheel | SHA-256 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cell in sorted(cells, key=lambda cell: cell.combo):
        if (wheel := wheels.get(cell.wheel)) is None:
            continue
        combo = cell.combo
        archs = " ".join(cell.archs)
        lines.append(
            f"| {combo.torch} | {combo.cuda} | {combo.python} | {combo.platform} | {archs} | {wheel.level} "
            f"| `{wheel.name}` | `{wheel.sha256}` |"
        )
    lines += [
        "",
        "pip and uv do not choose by the build tag in a wheel's name: install the one file that fits, or use the",
    ]
    lines += ["index channel of your PyTorch and CUDA.", ""]
    return "\n".join(lines)


@dataclass(frozen=True)
class Asset:
    """A file of a release as the host has it. ``sha256`` is empty where the host gives no digest."""

    id: int
    name: str
    size: int
    sha256: str
    complete: bool


@dataclass(frozen=True)
class Upload:
    """What publishing still has to do for a draft that may hold some assets already."""

    missing: tuple[str, ...]
    broken: tuple[int, ...]
    """Ids of assets whose upload was cut off; they are deleted first."""


def upload_plan(local: Mapping[str, File], remote: Sequence[Asset]) -> Upload:
    """Compare the files with the assets of the draft. Raises PublishError if any asset has different bytes."""
    broken = tuple(asset.id for asset in remote if not asset.complete)
    held = {asset.name: asset for asset in remote if asset.complete}
    different = [
        name
        for name, file in local.items()
        if (asset := held.get(name)) is not None
        and (asset.size != file.size or (asset.sha256 and asset.sha256 != file.sha256))
    ]
    if different:
        raise PublishError(
            f"the release already holds other bytes under {', '.join(sorted(different))}",
            "publish a rebuild under a new tag (`release tag` counts up), or delete the draft by hand",
        )
    return Upload(missing=tuple(sorted(set(local) - set(held))), broken=broken)
