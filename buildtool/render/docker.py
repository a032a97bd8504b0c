"""docker/Dockerfile and docker-bake.hcl: one image recipe, and a target for every Linux cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from buildtool.errors import ConfigError, Fault
from buildtool.plan.cells import Cell, Combo
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_cell
from buildtool.plan.selection import DEFAULT_SET
from buildtool.plan.tags import interpreter_tags, minor_of
from buildtool.render.naming import cell_name
from buildtool.render.text import fill

DEFAULT_BAKE_SET = "container"
"""The set that a plain ``docker buildx bake`` builds."""
LINUX_BAKE_SET = "release"
"""The set whose Linux cells are group ``linux``."""


@dataclass(frozen=True)
class Tools:
    """Versions of the tools that rendered files install."""

    uv: str
    nox: str
    python: str


def render_dockerfile(matrix: Matrix, template: str, tools: Tools, file: str = "docker/Dockerfile.in") -> str:
    """The Dockerfile: the template with the image that x86-64 manylinux wheels are built in."""
    images = [p.container for p in matrix.facts.platform.values() if p.container and p.machine == "x86_64"]
    if not images:
        hint = "declare a manylinux platform with the image its wheels are built in"
        raise ConfigError([Fault("matrix.toml", "platform", "no platform has a container image", hint=hint)])
    interpreter = "-".join(interpreter_tags(tools.python))
    return fill(template, {"IMAGE": images[0], "INTERPRETER": interpreter, "UV": tools.uv}, file)


def bake_cells(matrix: Matrix) -> tuple[Cell, ...]:
    """The cells that bake can build: those for x86-64 Linux in any set."""
    chosen = {combo for combos in matrix.sets.values() for combo in combos}
    linux = {name for name, p in matrix.facts.platform.items() if (p.os, p.machine) == ("linux", "x86_64")}
    return tuple(make_cell(matrix, combo) for combo in matrix.combos if combo in chosen and combo.platform in linux)


def render_bake(matrix: Matrix) -> str:
    """docker-bake.hcl: two targets a cell (the wheel, and ``test-…``), groups by set, torch and CUDA."""
    cells = bake_cells(matrix)
    names = {cell.combo: cell_name(cell) for cell in cells}
    groups: dict[str, list[str]] = {
        "default": _members(matrix, names, DEFAULT_BAKE_SET),
        "linux": _members(matrix, names, LINUX_BAKE_SET),
    }
    for name in matrix.sets:
        if name != DEFAULT_SET and (members := _members(matrix, names, name)):
            groups[f"set-{name}"] = members
    for cell in cells:
        for group in (f"torch-{minor_of(cell.combo.torch)}", f"cuda-{cell.combo.cuda}"):
            groups.setdefault(group.replace(".", "_"), []).append(cell_name(cell))
    parts = [_HEADER]
    parts += [_block("group", name, [("targets", members)]) for name, members in groups.items()]
    tested = {name: [f"test-{member}" for member in groups[name]] for name in ("default", "linux")}
    parts += [_block("group", f"test-{name}", [("targets", members)]) for name, members in tested.items()]
    parts.append(_COMMON)
    rows = ",\n".join(f"      {_row(cell)}" for cell in cells)
    for prefix, stage, outputs in (("", "export", '["type=local,dest=dist"]'), ("test-", "test", '["type=cacheonly"]')):
        parts.append(_TARGET.format(block=f"{prefix}cell", prefix=prefix, stage=stage, outputs=outputs, rows=rows))
    return "\n".join(parts)


def _members(matrix: Matrix, names: Mapping[Combo, str], name: str) -> list[str]:
    return [names[combo] for combo in matrix.sets.get(name, ()) if combo in names]


def _block(kind: str, name: str, fields: Sequence[tuple[str, Iterable[str]]]) -> str:
    lines = [f'{kind} "{name}" {{']
    for key, values in fields:
        lines += [f"  {key} = [", *(f"    {json.dumps(value)}," for value in values), "  ]"]
    return "\n".join([*lines, "}", ""])


def _row(cell: Cell) -> str:
    combo = cell.combo
    fields = {
        "name": cell_name(cell),
        "package": combo.package,
        "torch": combo.torch,
        "cuda": combo.cuda,
        "python": combo.python,
        "platform": combo.platform,
    }
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in fields.items()) + " }"


_HEADER = """\
# Rendered from matrix.toml by `python -m buildtool render`.
#
#   docker buildx bake            the cell of set "container"
#   docker buildx bake linux      the Linux cells of set "release"
#   docker buildx bake test-linux the same, each installed and imported in a stage without the sources
#
# Groups: one per set (set-…), PyTorch (torch-2_8) and CUDA version (cuda-12_8). Wheels appear in dist/.

# Type of a shared build cache, such as gha; each cell has a scope of its own in it. Empty: none.
variable "CACHE" {
  default = ""
}
"""

_COMMON = """\
target "_common" {
  context = "."
  dockerfile = "docker/Dockerfile"
}
"""

_TARGET = """\
target "{block}" {{
  name = "{prefix}${{c.name}}"
  inherits = ["_common"]
  target = "{stage}"
  output = {outputs}
  args = {{
    PACKAGE = c.package
    TORCH = c.torch
    CUDA = c.cuda
    PYTHON = c.python
    PLATFORM = c.platform
  }}
  cache-from = CACHE == "" ? [] : ["type=${{CACHE}},scope=${{c.name}}", "type=${{CACHE}},scope=test-${{c.name}}"]
  cache-to = CACHE == "" ? [] : ["type=${{CACHE}},scope={prefix}${{c.name}},mode=max"]
  matrix = {{
    c = [
{rows}
    ]
  }}
}}
"""
