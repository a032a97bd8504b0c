"""A plan as rows of GitHub job matrices: cubin jobs, cell jobs in shards, and the slim set for a pull request."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_cell
from buildtool.render.naming import cell_name, selection_of

MAX_ROWS = 256
"""Jobs that one matrix can make (docs.github.com, "Running variations of jobs in a workflow")."""

Row = dict[str, str]

_BUILD_INPUTS = ("buildtool/plan/", "buildtool/make/", "buildtool/locks/", "buildtool/backend.py", "buildtool/prove/")
"""Below these a change may change every wheel."""


def cubin_rows(cells: Iterable[Cell]) -> list[Row]:
    """One row per CUDA version × architecture, however many cells share the cubins.

    Its ``selection`` is one cell of each package that has kernels for the architecture: its cubins are everybody's.
    """
    sharing: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in cells:
        for arch in cell.archs:
            sharing.setdefault((cell.combo.cuda, arch), {}).setdefault(cell.combo.package, cell)
    rows = []
    for (cuda, arch), by_package in sharing.items():
        combo = next(iter(by_package.values())).combo
        words = f"torch={combo.torch} cuda={cuda} python={combo.python} platform={combo.platform}"
        selection = f"package={','.join(by_package)} {words}"
        rows.append({"name": f"cubins-{cuda}-{arch}", "cuda": cuda, "arch": arch, "selection": selection})
    return rows


def cell_rows(matrix: Matrix, cells: Iterable[Cell]) -> list[Row]:
    """One row per wheel: where it is built, the words that select it, the cubins it takes."""
    return [
        {
            "name": cell_name(cell),
            "wheel": cell.wheel,
            "selection": selection_of(cell.combo),
            "runner": matrix.facts.platform[cell.combo.platform].runner,
            "image": matrix.facts.platform[cell.combo.platform].container or "",
            "cuda": cell.combo.cuda,
        }
        for cell in cells
    ]


def shards(cells: Sequence[Cell], limit: int = MAX_ROWS) -> list[list[Cell]]:
    """Cut the cells into shards of at most ``limit``, cells of one CUDA version together as far as they fit.

    Together, because the shards compile their cubins separately.
    """
    result: list[list[Cell]] = []
    by_cuda = sorted(cells, key=lambda cell: [int(part) for part in cell.combo.cuda.split(".")])
    for _, group in itertools.groupby(by_cuda, key=lambda cell: cell.combo.cuda):
        members = list(group)
        for start in range(0, len(members), limit):
            part = members[start : start + limit]
            if result and len(result[-1]) + len(part) <= limit:
                result[-1].extend(part)
            else:
                result.append(part)
    return result


def slim(matrix: Matrix, plan: BuildPlan, changed: Iterable[str], before: Matrix | None = None) -> BuildPlan:
    """The cells of ``plan`` whose inputs are among the ``changed`` paths, and at least one of each package.

    ``before`` is the matrix before the change; without it a change of matrix.toml touches every cell.
    """
    paths = [PurePosixPath(path).as_posix() for path in changed]
    folders = {name: PurePosixPath(facts.pyproject).parent / name for name, facts in matrix.facts.package.items()}
    touched = [cell for cell in plan.cells if _touches(cell, paths, folders, matrix, before)]
    seen = {cell.combo.package for cell in touched}
    for cell in plan.cells:
        if cell.combo.package not in seen:
            seen.add(cell.combo.package)
            touched.append(cell)
    kept = set(map(cell_name, touched))
    return BuildPlan(tuple(cell for cell in plan.cells if cell_name(cell) in kept))


def _touches(
    cell: Cell, paths: Iterable[str], folders: Mapping[str, PurePosixPath], matrix: Matrix, before: Matrix | None
) -> bool:
    package = cell.combo.package
    prefixes = (*_BUILD_INPUTS, "kernels/", f"{folders[package].as_posix()}/", matrix.facts.package[package].pyproject)
    for path in paths:
        if path == "matrix.toml":
            if before is None or cell.combo not in set(before.combos) or make_cell(before, cell.combo) != cell:
                return True
        elif path.startswith(prefixes):
            return True
    return False
