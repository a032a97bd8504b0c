"""Finds the build backend: `buildtool` lies beside this file in an sdist and one folder up in a checkout.

PEP 517 wants an in-tree backend inside the source tree, which for this distribution is this folder.
"""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(next(p for p in (_HERE, _HERE.parent) if (p / "buildtool" / "backend.py").is_file())))

from buildtool.backend import (  # noqa: E402 - the path comes first
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]
