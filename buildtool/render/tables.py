"""Markdown tables of what the matrix declares, for the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildtool.plan.cells import Cell
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.tags import minor_of, version_key


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, columns padded so that the source reads as a table too."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruler = tuple("-" * width for width in widths)
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in (lines[0], ruler, *lines[1:]))


def cells_table(matrix: Matrix) -> str:
    """PyTorch releases × CUDA versions: which are in set ``release`` (●), declared (○), experimental upstream (◌)."""
    cudas = matrix.values("cuda")
    release = {(minor_of(c.torch), c.cuda) for c in matrix.sets.get("release", ())}
    rows = []
    for minor in sorted(matrix.facts.torch, key=version_key):
        facts = matrix.facts.torch[minor]
        marks = [
            "●"
            if (minor, cuda) in release
            else "○"
            if cuda in facts.cuda
            else "◌"
            if cuda in facts.experimental_cuda
            else ""
            for cuda in cudas
        ]
        rows.append([minor, _range(facts.pythons), *marks])
    return markdown(["PyTorch", "Python", *(f"CUDA {cuda}" for cuda in cudas)], rows)


def archs_table(matrix: Matrix) -> str:
    """CUDA versions, the GPUs their wheels have kernels for, and the driver they need."""
    rows = []
    for cuda in matrix.values("cuda"):
        facts = matrix.facts.cuda[cuda]
        arm = [arch for arch in facts.archs.aarch64 if arch not in facts.archs.x86_64]
        archs = ", ".join(f"`{arch}`" for arch in facts.archs.x86_64)
        archs += f"; on Arm {', '.join(f'`{arch}`' for arch in arm)}" if arm else ""
        rows.append([cuda, archs, facts.min_driver.linux, facts.min_driver.windows])
    return markdown(["CUDA", "Architectures", "Driver (Linux)", "Driver (Windows)"], rows)


def gpus_table(matrix: Matrix) -> str:
    """Architectures and the GPUs that run them."""
    return markdown(["Architecture", "GPUs"], [[f"`{arch}`", facts.gpus] for arch, facts in matrix.facts.arch.items()])


def sets_table(matrix: Matrix) -> str:
    """The named sets and how many wheels each has."""
    rows = [[f"`{name}`", matrix.facts.set[name].about, str(len(combos))] for name, combos in matrix.sets.items()]
    return markdown(["Set", "What it is", "Wheels"], rows)


def wheels_table(cells: Iterable[Cell]) -> str:
    """Cells by their wheels, for release notes and the like."""
    return markdown(
        ["PyTorch", "CUDA", "Python", "Platform", "Wheel"],
        [[c.combo.torch, c.combo.cuda, c.combo.python, c.combo.platform, f"`{c.wheel}`"] for c in cells],
    )


def readme_sections(matrix: Matrix) -> dict[str, str]:
    """The generated sections of the README by name."""
    wheels = wheels_table(make_plan(matrix, matrix.sets["release"]).cells)
    return {
        "cells": cells_table(matrix),
        "architectures": f"{archs_table(matrix)}\n\n{gpus_table(matrix)}",
        "sets": sets_table(matrix),
        "release-wheels": wheels,
    }


def _range(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{values[0]}–{values[-1]}"
