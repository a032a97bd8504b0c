"""The table of error texts and their causes. Its one home is the package, which has it on the user's machine, too."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import ConfigError, Fault

SOURCE = "sageattention/_causes.py"


@dataclass(frozen=True)
class Cause:
    """One row: ``pattern`` is a regular expression, searched ignoring case, with ``.`` matching newlines."""

    code: str
    pattern: str
    cause: str
    cure: str


def load_causes(project: Path) -> tuple[Cause, ...]:
    """Read the table from the package's file, without importing the package, which would import torch."""
    name = "buildtool_package_causes"
    specification = importlib.util.spec_from_file_location(name, project / SOURCE)
    if specification is None or specification.loader is None or not (project / SOURCE).is_file():
        raise ConfigError([Fault(SOURCE, "", "is not there", hint="run inside a checkout of the project")])
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return tuple(Cause(row.code, row.pattern, row.cause, row.cure) for row in module.CAUSES)
