"""``plan``, ``pins`` and ``schema``: what would be built, and the files that say so."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from buildtool.commands.files import write_or_check
from buildtool.commands.registry import Commands, project_root
from buildtool.console import Console
from buildtool.errors import PublishError, UsageError
from buildtool.make.estimate import known
from buildtool.make.store import Store, default_root
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.instances import Instance, parse_instances
from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.plan.model import MatrixFile
from buildtool.plan.pins import rewrite_pins
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.publish.budget import budget

SCHEMA = Path("docs/matrix.schema.json")


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    plan = commands.add("plan", _plan, "Show the cells of a selection.", selection=True)
    plan.add_argument("--json", action="store_true", help="every fact of every cell as JSON")
    plan.add_argument("--budget", action="store_true", help="compare what it needs with GitHub's limits instead")
    plan.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="wheels whose size is known (dist)")
    pins = commands.add("pins", _pins, "Write the exact pins of one cell into the pyproject files.", selection=True)
    pins.add_argument("--check", action="store_true", help="change nothing; fail if a file differs")
    schema = commands.add("schema", _schema, "Write the JSON Schema of matrix.toml.")
    schema.add_argument("--check", action="store_true", help="change nothing; fail if the file differs")


def matrix_of(args: argparse.Namespace) -> Matrix:
    """The matrix of the project that the command runs in."""
    return load_matrix(project_root(args) / "matrix.toml")


def instances_of(args: argparse.Namespace) -> tuple[Instance, ...]:
    """The kernel instances of the project that the command runs in."""
    path = project_root(args) / "kernels" / "instances.toml"
    try:
        return parse_instances(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "run inside a checkout of the project") from error


def plan_of(args: argparse.Namespace) -> BuildPlan:
    """The plan for the command's selection."""
    matrix = matrix_of(args)
    return make_plan(matrix, select(matrix, args.selection))


def cell_json(cell: Cell) -> dict[str, Any]:
    """A cell as one flat JSON object: the combo's fields first, then the facts."""
    fields = asdict(cell)
    return {**fields.pop("combo"), **fields}


def schema_text() -> str:
    """The JSON Schema of matrix.toml, for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **MatrixFile.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plan(args: argparse.Namespace, console: Console) -> int:
    plan = plan_of(args)
    if args.budget:
        return _budget(plan, args, console)
    if args.json:
        console.json({"cells": [cell_json(cell) for cell in plan.cells]})
        return 0
    columns = ("package", "torch", "cuda", "python", "platform", "archs", "wheel")
    rows = []
    for cell in plan.cells:
        combo = cell.combo
        cuda = f"{combo.cuda} (experimental)" if cell.experimental else combo.cuda
        archs = " ".join(arch.removeprefix("sm_") for arch in cell.archs)
        rows.append((combo.package, combo.torch, cuda, combo.python, combo.platform, archs, cell.wheel))
    console.table(f"{len(plan.cells)} cells", columns, rows)
    return 0


def _budget(plan: BuildPlan, args: argparse.Namespace, console: Console) -> int:
    """Each limit of GitHub with what the plan needs of it. Times are those that compiling took on this machine."""
    instances = instances_of(args)
    sizes = {path.name: path.stat().st_size for path in args.out.glob("*.whl")}
    needs = budget(plan.cells, instances, known(Store(default_root())), sizes)
    if args.json:
        console.json([{**asdict(need), "fits": need.fits} for need in needs])
    else:
        rows = [(need.what, need.text, "fits" if need.fits else "does not fit") for need in needs]
        console.table(f"{len(plan.cells)} wheels on GitHub", ("what", "needed, of what there is", ""), rows)
    over = [need for need in needs if not need.fits]
    for need in over:
        console.error(f"{need.what}: {need.text}", need.remedy)
    return PublishError.exit_code if over else 0


def _pins(args: argparse.Namespace, console: Console) -> None:
    matrix = matrix_of(args)
    plan = make_plan(matrix, select(matrix, args.selection))
    by_package = {cell.combo.package: cell for cell in plan.cells}
    for package in by_package:
        different = {(c.pins, c.torch_requirement) for c in plan.cells if c.combo.package == package}
        if len(different) != 1:
            builds = sorted({f"torch={c.combo.torch} cuda={c.combo.cuda}" for c in plan.cells})
            raise UsageError("pins are those of one torch and one CUDA", f"choose one of: {'; '.join(builds)}")
    root, files = project_root(args), {}
    for package, cell in by_package.items():
        path = matrix.facts.package[package].pyproject
        try:
            text = (root / path).read_text("utf-8")
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", f"correct package.{package}.pyproject") from error
        files[path] = rewrite_pins(text, cell, path)
    again = f"python -m buildtool pins {' '.join(args.selection)}"
    write_or_check(root, files, console, check=args.check, again=again)


def _schema(args: argparse.Namespace, console: Console) -> None:
    files = {SCHEMA.as_posix(): schema_text()}
    write_or_check(project_root(args), files, console, check=args.check, again="python -m buildtool schema")
