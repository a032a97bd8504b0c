"""``verify``: a finished wheel is what it says, imports, and comes out the same when built again."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from buildtool.commands.building import workshop
from buildtool.commands.files import write_or_check
from buildtool.commands.planning import instances_of, matrix_of
from buildtool.commands.registry import Commands, project_root
from buildtool.console import Console
from buildtool.errors import ToolchainError, VerificationError
from buildtool.make import native
from buildtool.make.outbox import renew
from buildtool.make.parts import torch_tree
from buildtool.make.runner import Processes
from buildtool.make.schedule import work_of
from buildtool.make.store import Store, default_root
from buildtool.make.toolchain import TorchTree
from buildtool.make.workshop import Verdict, Workshop
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.instances import Instance
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import cell_of_wheel
from buildtool.prove.audit import AuditWheel
from buildtool.prove.findings import catalogue_markdown
from buildtool.prove.gate import families_of, symbol_cache
from buildtool.prove.rebuild import compare
from buildtool.prove.symbols import SymbolIndex, cached_index, known_indexes
from buildtool.prove.trial import EnvironmentTrial, library_folder, own_interpreter
from buildtool.prove.verify import DEPTHS, Report, verify_wheel


def register(commands: Commands) -> None:
    """Add the command."""
    verify = commands.add("verify", _verify, "Check finished wheels against the matrix.")
    verify.add_argument("wheels", nargs="+", type=Path, metavar="WHEEL", help="a wheel of this project")
    verify.add_argument(
        "--level",
        choices=DEPTHS,
        default="static",
        help="static: the bytes alone; import: and in a fresh environment; gpu: and numerics (default: static)",
    )
    verify.add_argument("--full-torch", action="store_true", help="import with all of torch's NVIDIA libraries (3 GB)")
    verify.add_argument(
        "--python",
        type=Path,
        metavar="PROGRAM",
        help="import with this Python and the torch that it has (for gpu: by default this one, if its torch fits)",
    )
    verify.add_argument("--rebuild", action="store_true", help="build again with empty caches and compare the bytes")
    verify.add_argument("--strict", action="store_true", help="let warnings fail, too")
    verify.add_argument("--write", action="store_true", help="write each report beside its wheel, for `index`")
    verify.add_argument("--json", action="store_true", help="the reports as JSON")
    findings = commands.add("findings", _findings, "Write the list of everything that verify can find.")
    findings.add_argument("--check", action="store_true", help="change nothing; fail if the file differs")


def _findings(args: argparse.Namespace, console: Console) -> None:
    files = {"docs/findings.md": catalogue_markdown()}
    write_or_check(project_root(args), files, console, check=args.check, again="python -m buildtool findings")


def _verify(args: argparse.Namespace, console: Console) -> int:
    matrix, instances, store = matrix_of(args), instances_of(args), Store(default_root())
    reports = [_one(wheel, args, console, matrix, instances, store) for wheel in args.wheels]
    if args.write:
        for wheel, report in zip(args.wheels, reports, strict=True):
            console.detail(f"written: {renew(wheel, report.to_json())}")
    if args.json:
        console.json([report.to_json() for report in reports])
    else:
        for report in reports:
            _show(report, console)
    bad = ("error", "warning") if args.strict else ("error",)
    failed = any(finding.level in bad for report in reports for finding in report.findings)
    return VerificationError.exit_code if failed else 0


def _one(
    wheel: Path,
    args: argparse.Namespace,
    console: Console,
    matrix: Matrix,
    instances: tuple[Instance, ...],
    store: Store,
) -> Report:
    cell = cell_of_wheel(matrix, wheel.name)
    shop = workshop(args, console, matrix)
    torch = partial(torch_tree, cell, shop)
    python = args.python or (own_interpreter(cell) if args.level == "gpu" and not args.full_torch else None)
    report = verify_wheel(
        wheel,
        cell,
        instances,
        args.level,
        symbols=_symbols(cell, torch, store, console, python),
        others=known_indexes(cell.combo.platform, symbol_cache(store)),
        families=families_of(shop.project, cell),
        trial=EnvironmentTrial(Processes(console.detail), store, torch, full_torch=args.full_torch, interpreter=python),
        audit=AuditWheel(Processes(console.detail)),
    )
    if args.rebuild:
        with tempfile.TemporaryDirectory(prefix="buildtool-rebuild-") as folder:
            again = _build_again(cell, shop, instances, Path(folder))
            found = tuple(compare(wheel.name, wheel.read_bytes(), again.read_bytes()))
        report = replace(report, findings=(*report.findings, *found))
    return report


def _symbols(
    cell: Cell, torch: Callable[[], TorchTree], store: Store, console: Console, python: Path | None
) -> SymbolIndex | None:
    """The exports of the cell's torch: from the cache, else from that torch itself, else unknown."""
    if not cell.pypi_twin:
        return None
    known = known_indexes(cell.combo.platform, symbol_cache(store)).get(cell.combo.torch)
    if known is not None or cell.combo.platform.startswith("win"):
        return known
    try:
        folder = torch().lib if python is None else library_folder(python, Processes(console.detail))
        return cached_index(cell.combo.torch, cell.combo.platform, folder, symbol_cache(store))
    except ToolchainError as error:
        console.warn(f"the symbols of torch {cell.combo.torch} are not at hand: {error.message}")
        return None


def _build_again(cell: Cell, shop: Workshop, instances: tuple[Instance, ...], folder: Path) -> Path:
    """The same cell from the same sources, with a store of its own; only uv's cache of downloads is shared."""
    apart = replace(shop, store=Store(folder / "cache"))
    work = work_of(BuildPlan((cell,)), instances)
    (result,) = native.build(work, apart, folder / "dist", lambda *_: Verdict(ok=True, report={}))
    if result.wheel is None:
        raise VerificationError(f"{cell.wheel} could not be built again: {result.problem}", result.hint)
    return result.wheel


def _show(report: Report, console: Console) -> None:
    how = f", {report.trial.torch}" if report.trial else ""
    console.result(f"{'ok' if report.ok else 'NOT OK'}  {report.wheel}  ({report.level}{how})")
    gpu = report.trial.details.get("gpu", {}) if report.trial else {}
    if cases := gpu.get("cases"):
        worst = max(case["error"] for case in cases)
        console.result(
            f"  {gpu['device']}, driver {gpu['driver'] or 'unknown'}: {len(cases)} cases, relative error at most "
            f"{worst:.4f} (allowed {gpu['bound']})"
        )
    for finding in report.findings:
        (console.detail if finding.level == "note" else console.result)(f"  {finding}")
    for row in report.resources:
        console.detail(
            f"  {row.arch}: {row.kernels} kernels, {row.code_bytes} bytes of code; at most {row.max_registers} "
            f"registers and {row.max_stack} bytes of stack; {len(row.spilling)} spill"
        )
    fitting = [torch for torch, missing in report.resolves.items() if not missing]
    if fitting:
        console.detail(f"  its symbols resolve in torch {', '.join(fitting)}")
