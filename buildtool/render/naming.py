"""Names and words that stand for a cell in rendered files."""

from __future__ import annotations

from buildtool.plan.cells import Cell, Combo
from buildtool.plan.tags import interpreter_tags


def cell_name(cell: Cell) -> str:
    """Letters, digits, ``-`` and ``_`` only, unique: a job, a bake target, a cache scope, an artifact."""
    interpreter, abi = interpreter_tags(cell.combo.python)
    python = interpreter if abi == interpreter else abi
    return f"{cell.combo.package}-{cell.build_tag.replace('.', '_')}-{python}-{cell.combo.platform}"


def selection_of(combo: Combo) -> str:
    """The words that select exactly this combo."""
    return (
        f"package={combo.package} torch={combo.torch} cuda={combo.cuda} python={combo.python} platform={combo.platform}"
    )
