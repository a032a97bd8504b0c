"""Build tags and wheel file names.

A wheel's version says which sources it was built from (``2.2.0``); its *build tag* (PEP 427: the optional field after
the version, which starts with a digit) says which PyTorch and CUDA it was built for. The tag of torch 2.8.0 and
CUDA 12.8 is ``280.128``: the digits of the torch release, a dot, the digits of the CUDA version.

What a build tag is not:

- It is no part of the version. Installers use it as the last tie-breaker between wheels of one version and cannot be
  asked for one by name; left alone with a page of several they take the highest. Hence one index per (CUDA, torch).
- It does not sort by release. Installers compare the leading digits as a number and the rest as a string, so torch
  3.0.0 (``300``) comes before 2.10.0 (``2100``), and CUDA 12.10 (``.1210``) before 12.8 (``.128``).
- It cannot be read back alone: torch 2.11.0 and 2.1.10 both spell ``2110``. :func:`decode` therefore looks the tag up
  among declared pairs, and a matrix in which two pairs share a tag is refused when it is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

_DOTTED = re.compile(r"\d+(\.\d+)*\Z")


@lru_cache(1024)
def version_key(dotted: str) -> tuple[int, ...]:
    """Sort key of a dotted version: ``2.10.0`` after ``2.9.0``, ``3.13t`` right after ``3.13``."""
    free_threaded = dotted.endswith("t")
    return (*(int(part) for part in dotted.removesuffix("t").split(".")), int(free_threaded))


@lru_cache(1024)
def minor_of(release: str) -> str:
    """``2.8.0`` → ``2.8``."""
    return ".".join(release.split(".")[:2])


def build_tag(torch: str, cuda: str) -> str:
    """``("2.8.0", "12.8")`` → ``280.128``. Raises ValueError unless both are dotted numbers."""
    for value in (torch, cuda):
        if not _DOTTED.match(value):
            raise ValueError(f"{value!r} is not a dotted version number")
    return f"{torch.replace('.', '')}.{cuda.replace('.', '')}"


def decode(tag: str, pairs: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """The (torch, cuda) among ``pairs`` whose build tag is ``tag``.

    Raises ValueError if there is none, or more than one.
    """
    found = sorted({pair for pair in pairs if build_tag(*pair) == tag})
    if len(found) != 1:
        spelled = " and ".join(f"torch {torch} with CUDA {cuda}" for torch, cuda in found)
        raise ValueError(f"build tag {tag} is ambiguous: {spelled}" if found else f"no declared build has tag {tag}")
    return found[0]


def interpreter_tags(python: str) -> tuple[str, str]:
    """Python tag and ABI tag (PEP 425): ``3.12`` → ``cp312, cp312``; ``3.13t`` → ``cp313, cp313t``."""
    digits = python.removesuffix("t").replace(".", "")
    return f"cp{digits}", f"cp{digits}{'t' if python.endswith('t') else ''}"


def wheel_filename(distribution: str, version: str, tag: str, python: str, platform: str) -> str:
    """File name of a wheel (PEP 427, escaped as the binary distribution specification says)."""
    name = canonicalize_name(distribution).replace("-", "_")
    interpreter, abi = interpreter_tags(python)
    return f"{name}-{Version(version)}-{tag}-{interpreter}-{abi}-{platform}.whl"


def parse_filename(filename: str) -> tuple[str, str, str, str, str]:
    """(distribution, version, build tag, Python, platform) of a wheel this project makes.

    Inverse of :func:`wheel_filename` for normalized distribution names. Raises ValueError for any other file name.
    """
    distribution, version, build, tags = parse_wheel_filename(filename)
    if not build or len(tags) != 1:
        raise ValueError(f"{filename}: a wheel of this project has one build tag and one platform tag")
    return distribution, str(version), f"{build[0]}{build[1]}", _python_of(filename, next(iter(tags))), _platform(tags)


def _python_of(filename: str, tag: Tag) -> str:
    match = re.fullmatch(r"cp3(\d+)", tag.interpreter)
    if not match or tag.abi not in (tag.interpreter, tag.interpreter + "t"):
        raise ValueError(f"{filename}: {tag.interpreter}-{tag.abi} is not a CPython 3 build")
    return f"3.{match[1]}{tag.abi.removeprefix(tag.interpreter)}"


def _platform(tags: Iterable[Tag]) -> str:
    return next(iter(tags)).platform
