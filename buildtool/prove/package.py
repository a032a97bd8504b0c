"""Tables whose one home is the package, because it needs them on the user's machine: dispatch, and causes of errors.

Their files need the standard library alone, so they are loaded by path; importing the package would import torch.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildtool.errors import ConfigError, Fault

PACKAGE = "sageattention"


@dataclass(frozen=True)
class Cause:
    """One row: ``pattern`` is a regular expression, searched ignoring case, with ``.`` matching newlines."""

    code: str
    pattern: str
    cause: str
    cure: str


def load_causes(project: Path) -> tuple[Cause, ...]:
    """What error texts mean, in the order in which they are tried."""
    rows = _module(project, "_causes").CAUSES
    return tuple(Cause(row.code, row.pattern, row.cause, row.cure) for row in rows)


def load_dispatch(project: Path) -> Any:
    """The dispatch table's module, for ``arch_for``, ``remedy`` and :func:`families`."""
    return _module(project, "_dispatch")


def families(project: Path, cuda: str) -> Mapping[str, tuple[str, ...]]:
    """Architecture → the attention kernel families that dispatch may ask its cubins of that CUDA version for."""
    dispatch = load_dispatch(project)
    return {
        arch: tuple(dispatch.PATHS[path].family for path in dispatch.paths_of(arch, cuda)) for arch in dispatch.ARCHS
    }


def _module(project: Path, name: str) -> Any:
    path = project / PACKAGE / f"{name}.py"
    alias = f"buildtool_package{name}_{threading.get_ident()}"  # wheels are judged in several threads
    specification = importlib.util.spec_from_file_location(alias, path)
    if specification is None or specification.loader is None or not path.is_file():
        raise ConfigError([Fault(f"{PACKAGE}/{name}.py", "", "is not there", hint="run inside a checkout")])
    module = importlib.util.module_from_spec(specification)
    sys.modules[alias] = module  # dataclasses look their module up
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules[alias]
    return module
