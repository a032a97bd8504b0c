"""``build``, ``cubins``, ``resources`` and ``lock``: from the plan to verified wheels, and to their parts."""

from __future__ import annotations

import argparse
import platform as host
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from buildtool.commands.files import write_or_check
from buildtool.commands.planning import instances_of, matrix_of
from buildtool.commands.registry import Commands, project_root
from buildtool.commands.summary import summary_of, write
from buildtool.console import Console
from buildtool.errors import BuildToolError, CompileError, ToolchainError, UsageError
from buildtool.make import cibuildwheel, locks, native, nvrtc, parts
from buildtool.make import cubins as device
from buildtool.make.estimate import estimate
from buildtool.make.interpreters import find_uv
from buildtool.make.runner import Processes
from buildtool.make.schedule import work_of
from buildtool.make.stage import Package
from buildtool.make.store import Store, default_root
from buildtool.make.toolchain import Toolchains
from buildtool.make.workshop import CellResult, Workshop
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.faults import nearest
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_cell, make_plan
from buildtool.plan.selection import on_machine, select
from buildtool.prove.gate import gate_of, provenance_of
from buildtool.prove.verify import DEPTHS


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    build = commands.add("build", _build, "Build, verify and collect the wheels of a selection.", selection=True)
    build.add_argument("--level", choices=DEPTHS, default="import", help="how deeply to verify (default: import)")
    build.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="where wheels go (default: dist)")
    build.add_argument("--builder", choices=("auto", "native", "cibuildwheel"), default="auto", help="how to build")
    build.add_argument("--replace", action="store_true", help="replace a wheel of the same name with other bytes")
    build.add_argument("--manifest", type=Path, metavar="FILE", help="write the outcome as JSON to this file, too")
    build.add_argument("--dry-run", action="store_true", help="print what would be compiled, and stop")
    _common(build)
    cubins = commands.add("cubins", _cubins, "Compile the kernels of a selection, and nothing else.", selection=True)
    cubins.add_argument("--arch", action="append", metavar="SM", help="only for this architecture (may come again)")
    _common(cubins)
    commands.add("toolchain", _toolchain, "Fetch the compiler and the PyTorch of a selection.", selection=True)
    resources = commands.add("resources", _resources, "Show what each kernel takes on each GPU.", selection=True)
    resources.add_argument("--check", action="store_true", help="fail if a kernel keeps anything in local memory")
    _common(resources)
    lock = commands.add("lock", _lock, "Write the hashed locks of the toolchains of a selection.", selection=True)
    lock.add_argument(
        "--check", action="store_true", help="change nothing; fail if a lock is missing or has other pins"
    )


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, metavar="N", help="compilers at a time (default: by cores and memory)")
    parser.add_argument("--lineinfo", action="store_true", help="keep source lines in the cubins, for profilers")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")


def _build(args: argparse.Namespace, console: Console) -> int:
    matrix, instances = matrix_of(args), instances_of(args)
    plan = _buildable(matrix, args.selection)
    work = work_of(plan, instances)
    shop = workshop(args, console, matrix)
    expected = estimate(work, shop, args.out.absolute())
    console.info(str(expected))
    if args.dry_run:
        if args.json:
            console.json(asdict(expected))
        return 0
    started = time.monotonic()
    gate = gate_of(shop.project, shop.store, args.level)
    results: list[CellResult] = []
    contained, bare = cibuildwheel.divide(plan, args.builder, matrix, shop)
    out = args.out.absolute()
    if bare.cells:
        results += native.build(work_of(bare, instances), shop, out, gate, replace=args.replace)
    if contained.cells:
        here = work_of(contained, instances)
        results += cibuildwheel.build(here, shop, matrix, out, gate, replace=args.replace)
    spent = {**shop.ledger.to_json(), "wall": round(time.monotonic() - started, 2)}
    summary = summary_of(matrix, args.selection, args.level, expected, results, spent)
    if args.manifest:
        write(summary.to_json(), args.manifest)
    if args.json:
        console.json(summary.to_json())
    else:
        summary.show(console)
    summary.explain(console)
    return summary.failed[0].exit_code if summary.failed else 0


def _cubins(args: argparse.Namespace, console: Console) -> int:
    made = _compile(args, console)
    if args.json:
        console.json([{"arch": c.target.arch, "name": c.target.instance.name, "path": str(c.path)} for c in made])
    else:
        cached = sum(cubin.cached for cubin in made)
        console.result(f"{len(made)} cubins: {cached} from the cache, {len(made) - cached} compiled")
    return 0


def _resources(args: argparse.Namespace, console: Console) -> int:
    made = _compile(args, console)
    columns = (
        "arch",
        "kernel",
        "registers",
        "stack",
        "spill stores",
        "spill loads",
        "shared",
        "cubin bytes",
        "seconds",
    )
    rows: list[tuple[Any, ...]] = []
    for cubin in made:
        r = cubin.resources
        numbers = (r.registers, r.stack, r.spill_stores, r.spill_loads, r.shared, cubin.path.stat().st_size)
        rows.append((cubin.target.arch, cubin.target.instance.name, *numbers, round(cubin.cpu, 1)))
    if args.json:
        console.json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        console.table("Kernels; registers a thread, the rest in bytes", columns, [tuple(map(str, row)) for row in rows])
    if args.check and (found := [cubin for cubin in made if not cubin.resources.in_registers]):
        raise CompileError(
            f"{len(found)} of {len(made)} kernels use local memory: {', '.join(map(str, found))}",
            "let fewer blocks share a multiprocessor (__launch_bounds__), or index arrays by constants alone",
        )
    return 0


def _compile(args: argparse.Namespace, console: Console) -> list[device.Cubin]:
    matrix, instances = matrix_of(args), instances_of(args)
    plan = _buildable(matrix, args.selection)
    if only := getattr(args, "arch", None):
        plan = _restricted(plan, only)
    shop = workshop(args, console, matrix)
    made = parts.make_cubins(work_of(plan, instances), shop)
    errors = [part for part in made.values() if isinstance(part, BuildToolError)]
    for error in dict.fromkeys(errors):
        console.error(error.message, error.hint)
    if errors:
        raise type(errors[0])(f"{len(errors)} of {len(made)} cubins could not be made", "correct the errors above")
    found = [part for part in made.values() if isinstance(part, device.Cubin)]
    return sorted(found, key=lambda cubin: (cubin.target.library.pin, cubin.target.arch, cubin.target.instance.name))


def _restricted(plan: BuildPlan, archs: list[str]) -> BuildPlan:
    """The plan with these architectures only."""
    known = dict.fromkeys(arch for cell in plan.cells for arch in cell.archs)
    for arch in archs:
        if arch not in known:
            raise UsageError(f"nothing selected has kernels for {arch}", nearest(arch, known))
    cells = (replace(cell, archs=tuple(arch for arch in cell.archs if arch in archs)) for cell in plan.cells)
    return BuildPlan(tuple(cell for cell in cells if cell.archs))


def _toolchain(args: argparse.Namespace, console: Console) -> None:
    matrix = matrix_of(args)
    toolchains = Toolchains(Store(default_root()), Processes(console.detail))
    for cell in make_plan(matrix, select(matrix, args.selection)).cells:
        lock, pins = locks.read_lock(cell), cell.pins
        toolchains.nvrtc(pins.nvrtc, lock)
        headers = (pins.torch, pins.runtime_headers, pins.crt_headers)
        toolchains.torch(headers, lock, cell.combo.python, cell.combo.platform, cell.torch_index)
        console.info(f"{cell.wheel}: its toolchain is in the cache")


def _lock(args: argparse.Namespace, console: Console) -> None:
    matrix = matrix_of(args)
    plan = make_plan(matrix, select(matrix, args.selection))
    builds = {(cell.combo.torch, cell.combo.cuda) for cell in plan.cells}
    cells: dict[str, list[Cell]] = {}
    for combo in matrix.combos:  # a lock serves every platform, whatever was selected
        if (combo.torch, combo.cuda) in builds:
            cell = make_cell(matrix, combo)
            cells.setdefault(locks.lock_name(cell), []).append(cell)
    files: dict[str, str] = {}
    runner = Processes(console.detail)
    for name, sharing in cells.items():
        path = f"buildtool/locks/{name}"
        if args.check:
            lock = locks.read_lock(sharing[0])
            if missing := dict.fromkeys(pin for cell in sharing for pin in locks.missing_pins(lock, cell)):
                raise ToolchainError(f"{path} lacks {', '.join(missing)}", "python -m buildtool lock")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            lowest = matrix.torch_facts(sharing[0].combo.torch).pythons[0]
            files[path] = locks.resolve(sharing, lowest, find_uv(), runner, Path(scratch))
    write_or_check(project_root(args), files, console, check=False, again="python -m buildtool lock")


def _buildable(matrix: Matrix, words: list[str]) -> BuildPlan:
    """The plan of a selection. Without ``platform=``, cells of other platforms than this machine's are left out."""
    combos = select(matrix, words)
    if not any(word.startswith("platform=") for word in words):
        system = {"linux": "linux", "win32": "windows"}.get(sys.platform, sys.platform)
        here = on_machine(matrix, combos, system, host.machine())
        if not here:
            platforms = ", ".join(dict.fromkeys(combo.platform for combo in combos))
            raise ToolchainError(f"nothing selected is built on this machine: {platforms}", "say platform= to insist")
        combos = here
    return make_plan(matrix, combos)


def workshop(args: argparse.Namespace, console: Console, matrix: Matrix) -> Workshop:
    """Everything that building in this project works with, as the command line asks."""
    project = project_root(args)
    runner = Processes(console.detail)
    store = Store(default_root())
    packages = {name: Package(name, Path(facts.pyproject).parent) for name, facts in matrix.facts.package.items()}
    return Workshop(
        project=project,
        packages=packages,
        store=store,
        runner=runner,
        provenance=provenance_of(project, packages, runner),
        jobs=getattr(args, "jobs", None) or nvrtc.workers(),
        lineinfo=getattr(args, "lineinfo", False),
        say=console.info,
    )
