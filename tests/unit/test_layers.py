"""The order of docs/architecture.md: a file of buildtool/ imports only what stands above it, and no imports circle."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest


def order(root: Path) -> list[str]:
    """The folders and files of buildtool/ as docs/architecture.md lists them, e.g. ``errors``, ``plan``."""
    text = (root / "docs/architecture.md").read_text("utf-8")
    listing = re.search(r"^```\nbuildtool/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert listing
    lines = re.findall(r"^  ((?:\S+(?:\.py|/) ?)+)", listing[1], re.MULTILINE)
    return [word.removesuffix(".py").removesuffix("/") for line in lines for word in line.split()]


def imports(path: Path, module: str, modules: set[str]) -> set[str]:
    """The modules among these that a file imports, at its top or inside its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            base = node.module or ""
            names = [name if (name := f"{base}.{alias.name}") in modules else base for alias in node.names]
        else:
            continue
        found.update(name for name in names if name in modules)
    return found - {module}


@pytest.fixture(scope="module")
def graph(root: Path) -> dict[str, set[str]]:
    """What each module of buildtool/ imports of buildtool/."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / "buildtool").rglob("*.py"))
    }
    return {module: imports(path, module, set(files)) for module, path in files.items()}


def test_every_part_has_its_place(root: Path, graph: dict[str, set[str]]) -> None:
    parts = {module.split(".")[1] for module in graph if "." in module}
    assert parts == set(order(root))


def test_imports_point_upwards_only(root: Path, graph: dict[str, set[str]]) -> None:
    rank = {name: place for place, name in enumerate(order(root))}

    def part(module: str) -> int:
        return rank[module.split(".")[1]] if "." in module else -1

    assert not [f"{a} imports {b}" for a, used in graph.items() for b in used if part(b) > part(a)]


def test_no_imports_circle(graph: dict[str, set[str]]) -> None:
    assert len(tuple(TopologicalSorter(graph).static_order())) == len(graph)
