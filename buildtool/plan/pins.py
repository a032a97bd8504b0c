"""Writes a cell's exact pins into the text of a pyproject.toml, and nothing else of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import tomlkit
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from tomlkit.exceptions import TOMLKitError

from buildtool.errors import ConfigError, Fault
from buildtool.plan.cells import Cell

_BUILD_PINS: Mapping[str, tuple[re.Pattern[str], Callable[[Cell], str]]] = {
    # what the pin is → which requirement names it goes by (they differ between CUDA majors), what it becomes
    "torch": (re.compile(r"torch"), lambda cell: cell.pins.torch),
    "nvrtc": (re.compile(r"nvidia-cuda-nvrtc(-cu\d+)?"), lambda cell: cell.pins.nvrtc),
    "runtime headers": (re.compile(r"nvidia-cuda-runtime(-cu\d+)?"), lambda cell: cell.pins.runtime_headers),
    "crt headers": (re.compile(r"nvidia-cuda-(crt|nvcc)(-cu\d+)?"), lambda cell: cell.pins.crt_headers),
}
_RUN_PINS: Mapping[str, tuple[re.Pattern[str], Callable[[Cell], str]]] = {
    "torch": (re.compile(r"torch"), lambda cell: cell.torch_requirement),
}


def rewrite_pins(text: str, cell: Cell, file: str = "pyproject.toml") -> str:
    """The text of a pyproject.toml with ``cell``'s pins in it; comments and formatting stay.

    Rewritten are ``project.version``, the exact pins of torch and the CUDA toolchain in ``build-system.requires``, and
    torch in ``project.dependencies``. Each must be there exactly once: a pin that is absent or ambiguous is reported by
    name as a ConfigError, together with every other, and nothing is rewritten. Rewriting twice changes nothing.
    """
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError([Fault(file, "", f"not valid TOML: {error}")]) from error
    faults: list[Fault] = []
    _rewrite_list(document, ("build-system", "requires"), _BUILD_PINS, cell, file, faults)
    _rewrite_list(document, ("project", "dependencies"), _RUN_PINS, cell, file, faults)
    project = _at(document, ("project",))
    if not isinstance(project, Mapping) or not isinstance(project.get("version"), str):
        faults.append(Fault(file, "project.version", "missing", hint="matrix.toml's version of the package goes there"))
    elif project["version"] != cell.version:
        document["project"]["version"] = cell.version
    if faults:
        raise ConfigError(faults)
    return tomlkit.dumps(document)


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _rewrite_list(
    document: Any,
    path: tuple[str, str],
    pins: Mapping[str, tuple[re.Pattern[str], Callable[[Cell], str]]],
    cell: Cell,
    file: str,
    faults: list[Fault],
) -> None:
    key, requirements = ".".join(path), _at(document, path)
    if not isinstance(requirements, list):
        faults.append(Fault(file, key, "missing, so no pin can be rewritten", hint="add the list with its pins"))
        return
    names = [_name(requirement) for requirement in requirements]
    for pin, (pattern, value_of) in pins.items():
        places = [index for index, name in enumerate(names) if pattern.fullmatch(name)]
        if len(places) != 1:
            found = ", ".join(str(requirements[index]) for index in places) or "none"
            hint = f"keep exactly one requirement for it, such as {value_of(cell)}"
            faults.append(Fault(file, key, f"the {pin} pin must be there exactly once", value=found, hint=hint))
            continue
        wanted = value_of(cell)
        old = Requirement(str(requirements[places[0]]))
        if old.marker:
            wanted += f"; {old.marker}"
        if str(requirements[places[0]]) != wanted:
            requirements[places[0]] = wanted


def _name(requirement: object) -> str:
    try:
        return canonicalize_name(Requirement(str(requirement)).name)
    except InvalidRequirement:
        return ""
