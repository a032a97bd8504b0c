"""What PyPI and PyTorch's index have and matrix.toml does not: compared, and said as the rows to add. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.metadata import parse_email
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from buildtool.plan.matrix import Matrix
from buildtool.plan.model import TorchFacts
from buildtool.plan.tags import minor_of, version_key

PYPI = "PyPI"
_CUDA_CHANNEL = re.compile(r"cu(\d+)(\d)\Z")
_CUDA_PACKAGES = re.compile(r"(nvidia-cuda-runtime(-cu\d+)?|cuda-toolkit)\Z")
_MACHINES = {"linux": ("x86_64", "aarch64"), "windows": ("amd64",)}


@dataclass(frozen=True, order=True)
class Build:
    """One CUDA build of PyTorch that somebody serves."""

    torch: str
    cuda: str
    """Major.minor, or ``""`` where the wheel does not say it."""
    python: str
    system: str
    """Operating system and machine as in a wheel's platform tag: ``linux_x86_64``, ``linux_aarch64``, ``win_amd64``."""
    source: str
    """:data:`PYPI`, or the channel of PyTorch's index, e.g. ``cu128``."""


@dataclass(frozen=True, order=True)
class Gap:
    """Something served that the matrix does not declare. ``rows`` is TOML to add or change, ready to paste."""

    key: str
    """The key of matrix.toml that lacks it, e.g. ``torch."2.8".releases``."""
    what: str
    rows: str


def channel_of(cuda: str) -> str:
    """``12.8`` → ``cu128``."""
    return f"cu{cuda.replace('.', '')}"


def cuda_of_channel(channel: str) -> str:
    """``cu128`` → ``12.8``; ``""`` for a channel without CUDA."""
    match = _CUDA_CHANNEL.match(channel)
    return f"{match[1]}.{match[2]}" if match else ""


def cuda_of_metadata(metadata: str, system: str) -> str:
    """The CUDA version whose runtime a torch wheel's METADATA requires on ``system``; ``""`` if it requires none.

    The marker decides: the metadata of a CPU build for 64-bit Arm names CUDA packages, but only for x86-64.
    """
    environment = {
        "platform_system": "Linux",
        "platform_machine": system.removeprefix("linux_"),
        "sys_platform": "linux",
    }
    for line in parse_email(metadata)[0].get("requires_dist", []):
        requirement = Requirement(line)
        if not _CUDA_PACKAGES.match(canonicalize_name(requirement.name)):
            continue
        if requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""}):
            for specifier in requirement.specifier:
                if specifier.operator == "==":
                    return ".".join(specifier.version.split(".")[:2])
    return ""


def build_of(filename: str, source: str, cuda: str = "") -> Build | None:
    """The build that a torch wheel's file name tells of; None for other files, pre-releases and macOS.

    ``cuda`` is used where the version has no local part such as ``+cu128``.
    """
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    tag = min(tags, key=lambda tag: tag.platform)
    system = _system(tag.platform)
    python = re.fullmatch(r"cp3(\d+)", tag.interpreter)
    if name != "torch" or version.is_prerelease or not system or not python:
        return None
    if version.local and not cuda_of_channel(version.local):
        return None
    threads = "t" if tag.abi.endswith("t") else ""
    local = cuda_of_channel(version.local) if version.local else cuda
    return Build(version.public, local, f"3.{python[1]}{threads}", system, source)


def _system(platform: str) -> str:
    for machine in _MACHINES["linux"]:
        if platform.endswith(f"linux_{machine}") or (platform.startswith("manylinux") and platform.endswith(machine)):
            return f"linux_{machine}"
    return platform if platform == "win_amd64" else ""


def gaps(matrix: Matrix, builds: Iterable[Build]) -> tuple[Gap, ...]:
    """What of ``builds`` the matrix lacks: minors from the oldest declared one on, patches, CUDA versions, Pythons.

    Free-threaded Pythons and CUDA versions before 12 are outside what the matrix covers and are not reported.
    """
    oldest = min(matrix.facts.torch, key=version_key)
    known = matrix.facts.torch
    by_minor: dict[str, list[Build]] = defaultdict(list)
    for build in builds:
        if build.python.endswith("t") or (build.cuda and version_key(build.cuda) < version_key("12.0")):
            continue
        if version_key(minor_of(build.torch)) >= version_key(oldest):
            by_minor[minor_of(build.torch)].append(build)
    found: list[Gap] = []
    for minor, served in by_minor.items():
        if minor in known:
            found.extend(_changes(minor, known[minor], served))
        else:
            newest = max(known, key=version_key)
            found.append(_new_minor(minor, newest, known[newest], served))
    cudas = {build.cuda for served in by_minor.values() for build in served if build.cuda}
    for cuda in sorted(cudas - set(matrix.facts.cuda), key=version_key):
        rows = f'[cuda."{cuda}"]  # pins: newest NVRTC and header packages of {cuda} on PyPI; see CONTRIBUTING.md'
        found.append(Gap(f'cuda."{cuda}"', f"CUDA {cuda} is built for, and the matrix has no facts of it", rows))
    return tuple(sorted(found))


def _listed(values: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in sorted(set(values), key=version_key)) + "]"


def _changes(minor: str, facts: TorchFacts, served: list[Build]) -> Iterator[Gap]:
    table = f'torch."{minor}"'
    releases = {build.torch for build in served} - set(facts.releases)
    if releases:
        rows = f"releases = {_listed([*facts.releases, *releases])}"
        yield Gap(f"{table}.releases", f"PyTorch {', '.join(sorted(releases, key=version_key))} is out", rows)
    declared = {*facts.cuda, *facts.experimental_cuda}
    cudas = {build.cuda for build in served if build.cuda} - declared
    if cudas:
        where = sorted({build.source for build in served if build.cuda in cudas})
        rows = f"experimental_cuda = {_listed([*facts.experimental_cuda, *cudas])}"
        what = f"{', '.join(where)} serves PyTorch {minor} for CUDA {', '.join(sorted(cudas, key=version_key))}"
        yield Gap(f"{table}.experimental_cuda", what, rows)
    pythons = {build.python for build in served} - {*facts.pythons, *facts.experimental_pythons}
    if pythons:
        rows = f"pythons = {_listed([*facts.pythons, *pythons])}"
        what = f"PyTorch {minor} is served for Python {', '.join(sorted(pythons, key=version_key))}"
        yield Gap(f"{table}.pythons", what, rows)


def _new_minor(minor: str, before: str, model: TorchFacts, served: list[Build]) -> Gap:
    cudas = {build.cuda for build in served if build.cuda}
    pypi = {build.cuda for build in served if build.cuda and build.source == PYPI}
    lines = [
        f'[torch."{minor}"]',
        f"releases = {_listed(build.torch for build in served)}",
        f"pythons = {_listed(build.python for build in served)}",
        f"cuda = {_listed(cudas or model.cuda)}"
        + ("" if cudas else f"  # as {before}: no wheel said its CUDA version"),
        f'pypi_cuda = "{max(pypi, key=version_key) if pypi else model.pypi_cuda}"'
        + ("" if pypi else f"  # as {before}: the wheel on PyPI did not say"),
        f"cxx_standard = {model.cxx_standard}  # as {before}: compare PyTorch's RELEASE.md",
    ]
    return Gap(f'torch."{minor}"', f"PyTorch {minor} is out", "\n".join(lines))
