"""Asks PyPI and PyTorch's own index which builds of torch they serve."""

from __future__ import annotations

import dataclasses
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import requests
from packaging.version import Version
from pypi_simple import (
    DistributionPackage,
    NoMetadataError,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedContentTypeError,
)
from remotezip import RemoteZip, RemoteZipError

from buildtool.errors import PublishError
from buildtool.plan.cells import PYTORCH_INDEX
from buildtool.publish.watch import PYPI, Build, build_of, cuda_of_metadata

_TIMEOUT = 60
_ATTEMPTS = 3
_PAUSE = 2.0
_T = TypeVar("_T")


def pypi_builds(oldest: str) -> tuple[Build, ...]:
    """The CUDA builds of torch on PyPI from minor release ``oldest`` on. Raises PublishError if PyPI does not answer.

    Only PyPI's Linux wheels are CUDA builds; their CUDA version is read from one wheel's metadata for each release.
    """
    with PyPISimple() as client:
        wheels: dict[tuple[str, str], list[tuple[DistributionPackage, Build]]] = defaultdict(list)
        for package in _wheels(client, PYPI):
            build = build_of(package.filename, PYPI)
            if build is not None and build.system.startswith("linux") and Version(build.torch) >= Version(oldest):
                wheels[build.torch, build.system].append((package, build))
        return tuple(
            dataclasses.replace(build, cuda=cuda)
            for (_, system), rows in wheels.items()
            for cuda in [_cuda(client, [package for package, _ in rows], system)]
            for _, build in rows
        )


def channel_builds(channels: Iterable[str]) -> Iterator[tuple[str, tuple[Build, ...]]]:
    """For each channel of PyTorch's index (``cu128``) its builds. Raises PublishError if it does not answer."""
    for channel in channels:
        with PyPISimple(f"{PYTORCH_INDEX}/{channel}") as client:
            found = (build_of(package.filename, channel) for package in _wheels(client, channel))
            yield channel, tuple(build for build in found if build is not None)


def _wheels(client: PyPISimple, source: str) -> list[DistributionPackage]:
    try:
        page = _persistently(lambda: client.get_project_page("torch", timeout=_TIMEOUT))
    except NoSuchProjectError:
        return []
    except (requests.RequestException, UnsupportedContentTypeError) as error:
        raise PublishError(f"{source} does not answer: {type(error).__name__}", "look at the network") from error
    return [package for package in page.packages if package.package_type == "wheel" and not package.is_yanked]


def _cuda(client: PyPISimple, packages: Sequence[DistributionPackage], system: str) -> str:
    """The CUDA version of one release, from the first of its wheels whose metadata is served beside it (PEP 658).

    Where none is, as on some mirrors, the metadata is read out of a wheel, which takes a few of its bytes.
    """
    for package in packages:
        try:
            # Not every mirror passes on the hash of the metadata file; what is read here is only compared, never run.
            ask = partial(client.get_package_metadata, package, verify=False, timeout=_TIMEOUT)
            return cuda_of_metadata(_persistently(ask), system)
        except NoMetadataError:
            continue
        except requests.RequestException as error:
            raise PublishError(f"PyPI does not answer: {type(error).__name__}", "look at the network") from error
    try:
        return cuda_of_metadata(_persistently(partial(_metadata_inside, packages[0].url)), system)
    except (requests.RequestException, RemoteZipError, zipfile.BadZipFile, StopIteration):
        return ""


def _metadata_inside(url: str) -> str:
    with RemoteZip(url, timeout=_TIMEOUT) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata: bytes = wheel.read(name)
    return metadata.decode("utf-8")


def _persistently(ask: Callable[[], _T]) -> _T:
    for attempt in range(_ATTEMPTS - 1):
        try:
            return ask()
        except requests.RequestException:
            time.sleep(_PAUSE * 2**attempt)
    return ask()
