"""Joins the builders with verification: what decides over a finished wheel, and what says where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make.locks import hashes, read_lock
from buildtool.make.runner import Runner
from buildtool.make.stage import Package
from buildtool.make.store import Store
from buildtool.make.toolchain import TorchTree
from buildtool.make.workshop import Gate, Provenance, Verdict
from buildtool.plan.cells import Cell
from buildtool.plan.instances import parse_instances
from buildtool.prove.audit import AuditWheel
from buildtool.prove.package import PACKAGE, families
from buildtool.prove.sbom import render_sbom, sbom_path
from buildtool.prove.symbols import cached_index, known_indexes
from buildtool.prove.trial import EnvironmentTrial
from buildtool.prove.verify import Depth, verify_wheel

SKIPPED = frozenset({"import.skipped", "gpu.skipped"})
"""Findings that say a check could not be carried out, not that the wheel is wrong."""


def symbol_cache(store: Store) -> Path:
    """Folder with the symbol indexes of the torch builds met so far."""
    return store.root / "symbols"


def families_of(project: Path, cell: Cell) -> Mapping[str, tuple[str, ...]]:
    """What the package's dispatch may ask for; only sageattention has more than one path."""
    return families(project, cell.combo.cuda) if cell.combo.package == PACKAGE else {}


def gate_of(project: Path, store: Store, level: Depth) -> Gate:
    """The gate of ``build``: every static check with the symbols of the cell's own torch, then the import."""

    def judge(wheel: Path, cell: Cell, torch: Callable[[], TorchTree], runner: Runner) -> Verdict:
        instances = parse_instances((project / "kernels" / "instances.toml").read_text("utf-8"))
        others = known_indexes(cell.combo.platform, symbol_cache(store))
        # A torch that was met before need not be unpacked for another Python just to read its symbols again.
        symbols = None
        if cell.pypi_twin:
            symbols = others.get(cell.combo.torch) or cached_index(
                cell.combo.torch, cell.combo.platform, torch().lib, symbol_cache(store)
            )
        trial = None if level == "static" else EnvironmentTrial(runner, store, torch)
        audit = AuditWheel(runner)
        report = verify_wheel(
            wheel,
            cell,
            instances,
            level,
            symbols=symbols,
            others=others,
            families=families_of(project, cell),
            trial=trial,
            audit=audit,
        )
        errors = [finding for finding in report.findings if finding.level == "error"]
        problems = tuple(str(finding) for finding in errors if finding.code not in SKIPPED)
        undone = "; ".join(str(finding) for finding in errors if finding.code in SKIPPED)
        return Verdict(not problems, report.to_json(), problems, undone)

    return judge


def provenance_of(project: Path, packages: Mapping[str, Package], runner: Runner) -> Provenance:
    """What goes into a wheel to say where it comes from: the bill of materials, with the source's commit if known."""

    def describe(cell: Cell, source_digest: str) -> Mapping[str, bytes]:
        folder = packages[cell.combo.package].folder / cell.combo.package
        commit = _commit(project, ("kernels", folder.as_posix()), runner)
        accepted: Mapping[str, tuple[str, ...]] = {}
        with suppress(ToolchainError):  # a front end may have installed a torch that nobody locked
            accepted = hashes(read_lock(cell))
        return {sbom_path(cell): render_sbom(cell, source_digest, commit=commit, hashes=accepted)}

    return describe


def _commit(project: Path, paths: tuple[str, ...], runner: Runner) -> str | None:
    """The last commit that changed these paths, or None outside a clone."""
    try:
        # In a container the checkout often belongs to somebody else, which git has to be told to accept.
        git: list[str | Path] = ["git", "-c", f"safe.directory={project}", "log", "-1", "--format=%H", "--", *paths]
        result = runner.run(git, cwd=project, timeout=60)
    except ToolchainError:
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
