"""The native builder: cubins ▸ binding ▸ wheel ▸ verification ▸ ``dist/``, on this machine without a container."""

from __future__ import annotations

import os
import platform as host
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from buildtool.errors import BuildToolError, ToolchainError, VerificationError
from buildtool.make import assemble, binding, cubins, nvrtc, outbox, stage
from buildtool.make.binding import Spec
from buildtool.make.ledger import Ledger
from buildtool.make.locks import read_lock
from buildtool.make.runner import Runner
from buildtool.make.schedule import Kernel, Work
from buildtool.make.store import Store, digest, file_digest
from buildtool.make.toolchain import Toolchains, TorchTree
from buildtool.plan.cells import Cell


@dataclass(frozen=True)
class Verdict:
    """What verification says of one wheel."""

    ok: bool
    report: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    undone: str = ""
    """Why a check that belongs to this level could not be carried out; empty if all were."""


class Gate(Protocol):
    """The port that decides whether a wheel may go to ``dist/``. ``torch`` provides the cell's torch when needed."""

    def __call__(self, wheel: Path, cell: Cell, torch: Callable[[], TorchTree]) -> Verdict: ...


class Provenance(Protocol):
    """The port that describes a wheel's origin: files for its dist-info folder, by archive path."""

    def __call__(self, cell: Cell, source_digest: str) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class Workshop:
    """Everything a build works with."""

    project: Path
    packages: Mapping[str, stage.Package]
    store: Store
    runner: Runner
    gate: Gate
    provenance: Provenance
    jobs: int
    lineinfo: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    say: Callable[[str], None] = lambda _: None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


@dataclass(frozen=True)
class CellResult:
    """What became of one cell: ``built``, ``unchanged``, ``unproven`` (a check was not possible) or ``failed``."""

    cell: Cell
    status: str
    wheel: Path | None = None
    problem: str = ""
    hint: str = ""
    exit_code: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)


def build(work: Work, shop: Workshop, out: Path, *, replace: bool = False) -> tuple[CellResult, ...]:
    """Build, verify and publish every cell of the work. One cell's failure does not stop the others.

    Raises BuildToolError only for what concerns all cells (the sources, the store, the output folder).
    """
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        folder = Path(name)
        kernels = stage.snapshot_kernels(shop.project, folder)
        try:
            with ThreadPoolExecutor(max_workers=1) as side:
                pending = side.submit(_make_bindings, work, shop, kernels)
                made = _make_cubins(work, shop, kernels)
                bindings = pending.result()
        except BaseException:
            shop.runner.terminate()
            raise
        results = []
        for index, cell in enumerate(work.plan.cells):
            result = _finish(
                cell,
                work.kernels_of[index],
                work.binding_of[index],
                made,
                bindings,
                shop,
                kernels,
                folder / str(index),
                out,
                replace=replace,
            )
            shop.say(f"{result.status:>9}  {cell.wheel}" + (f"\n           {result.problem}" if result.problem else ""))
            results.append(result)
        return tuple(results)


def make_cubins(work: Work, shop: Workshop) -> dict[Kernel, cubins.Cubin | BuildToolError]:
    """Every cubin of the work and nothing else."""
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        try:
            return _make_cubins(work, shop, stage.snapshot_kernels(shop.project, Path(name)))
        except BaseException:
            shop.runner.terminate()
            raise


def count_cached(work: Work, shop: Workshop) -> int:
    """How many cubins of the work are in the store already (by key; use shows whether they are whole)."""
    folder = shop.project / "kernels"
    keys = cubins.keys(((k.instance, k.arch, k.nvrtc) for k in work.kernels), folder, lineinfo=shop.lineinfo)
    return sum(shop.store.path(cubins.KIND, key).is_dir() for key in keys)


def _make_cubins(work: Work, shop: Workshop, kernels: Path) -> dict[Kernel, cubins.Cubin | BuildToolError]:
    """Every cubin of the work, or the error that kept it from being made."""
    result: dict[Kernel, cubins.Cubin | BuildToolError] = {}
    by_target: dict[cubins.Target, Kernel] = {}
    with shop.ledger.stage("compiler", shop.runner) as runner:
        toolchains = Toolchains(shop.store, runner, environ=shop.environ)
        libraries: dict[str, nvrtc.Library | BuildToolError] = {}
        for index, cell in enumerate(work.plan.cells):
            pin = cell.pins.nvrtc
            if pin not in libraries:
                try:
                    libraries[pin] = toolchains.nvrtc(pin, read_lock(cell))
                except BuildToolError as error:
                    libraries[pin] = error
            library = libraries[pin]
            for kernel in work.kernels_of[index]:
                if isinstance(library, BuildToolError):
                    result[kernel] = library
                else:
                    by_target[cubins.Target(kernel.instance, kernel.arch, library, shop.lineinfo)] = kernel
    total, finished = len(by_target), 0

    def report(outcome: nvrtc.Outcome | cubins.Cubin) -> None:
        nonlocal finished
        finished += 1
        if isinstance(outcome, cubins.Cubin):
            shop.ledger.count("cubins from cache")
        else:
            shop.ledger.count("NVRTC runs")
            shop.ledger.add("cubins", outcome.cpu)
            job = outcome.job
            shop.say(f"[{finished}/{total}] {job.arch} {job.name} {outcome.cpu:.1f} s")

    with shop.ledger.stage("cubins", shop.runner) as runner:
        made, failed = cubins.make(
            by_target, kernels=kernels, store=shop.store, runner=runner, count=shop.jobs, report=report
        )
    result |= {by_target[target]: cubin for target, cubin in made.items()}
    result |= {by_target[target]: nvrtc.failure(outcome) for target, outcome in failed.items()}
    return result


def _make_bindings(work: Work, shop: Workshop, kernels: Path) -> dict[Spec, Path | BuildToolError]:
    """Every binding of the work, or the error that kept it from being made."""
    result: dict[Spec, Path | BuildToolError] = {}
    for spec, cell in zip(work.binding_of, work.plan.cells, strict=True):
        if spec in result:
            continue
        try:
            result[spec] = _make_binding(spec, cell, shop, kernels)
        except BuildToolError as error:
            result[spec] = error
    return result


def _make_binding(spec: Spec, cell: Cell, shop: Workshop, kernels: Path) -> Path:
    compiler = binding.compiler_for(spec.platform, shop.environ, host.machine())
    found = binding.cached(spec, kernels=kernels, compiler=compiler, store=shop.store, runner=shop.runner)
    if found is not None:
        shop.ledger.count("bindings from cache")
        return found
    tree = torch_tree(cell, shop)
    shop.say(f"compiling {spec.library} against torch {spec.torch} for {spec.platform}")
    with shop.ledger.stage("binding", shop.runner) as runner:
        library = binding.make(spec, kernels=kernels, tree=tree, compiler=compiler, store=shop.store, runner=runner)
    shop.ledger.count("bindings compiled")
    return library


def torch_tree(cell: Cell, shop: Workshop) -> TorchTree:
    """The cell's torch with headers, installed now if it was not there."""
    with shop.ledger.stage("torch", shop.runner) as runner:
        pins = (cell.pins.torch, cell.pins.runtime_headers, cell.pins.crt_headers)
        toolchains = Toolchains(shop.store, runner, environ=shop.environ)
        return toolchains.torch(pins, read_lock(cell), cell.combo.python, cell.combo.platform)


def _finish(
    cell: Cell,
    kernels: tuple[Kernel, ...],
    spec: Spec,
    made: Mapping[Kernel, cubins.Cubin | BuildToolError],
    bindings: Mapping[Spec, Path | BuildToolError],
    shop: Workshop,
    kernel_folder: Path,
    folder: Path,
    out: Path,
    *,
    replace: bool,
) -> CellResult:
    """One cell from its parts to ``dist/``."""
    parts = [*(made[kernel] for kernel in kernels), bindings[spec]]
    errors = list(dict.fromkeys(part for part in parts if isinstance(part, BuildToolError)))
    if errors:
        more = f"\n(and {len(errors) - 1} more)" if len(errors) > 1 else ""
        first = errors[0]
        return CellResult(cell, "failed", None, first.message + more, first.hint, first.exit_code)
    try:
        ready: dict[Kernel, cubins.Cubin] = {k: c for k in kernels if isinstance(c := made[k], cubins.Cubin)}
        library = bindings[spec]
        if isinstance(library, BuildToolError):
            raise library
        return _assemble(cell, ready, library, shop, kernel_folder, folder, out, replace=replace)
    except BuildToolError as error:
        return CellResult(cell, "failed", None, error.message, error.hint, error.exit_code)


def _assemble(
    cell: Cell,
    ready: Mapping[Kernel, cubins.Cubin],
    library: Path,
    shop: Workshop,
    kernel_folder: Path,
    folder: Path,
    out: Path,
    *,
    replace: bool,
) -> CellResult:
    package = shop.packages[cell.combo.package]
    with shop.ledger.stage("wheel", shop.runner):
        staged = stage.stage_package(shop.project, package, cell, folder)
        source = stage.source_digest(kernel_folder, staged, package.name)
        files: dict[str, dict[str, Path]] = {arch: {} for arch in cell.archs}
        for kernel, cubin in ready.items():
            files[kernel.arch][kernel.instance.name] = cubin.path
        fingerprint = digest(
            {
                "cell": repr(cell),
                "source": source,
                "package": sorted((p.name, file_digest(p)) for p in staged.glob("*") if p.is_file()),
                "cubins": sorted(c.path.parent.name for c in ready.values()),
                "binding": library.parent.name,
                "tool": tool_digest(),
            }
        )
        target = out / cell.wheel
        if (report := outbox.proven(target, fingerprint)) is not None:
            return CellResult(cell, "unchanged", target, report=report)
    with outbox.staging(out) as place:
        with shop.ledger.stage("wheel", shop.runner):
            native = assemble.native_files(cell, files, library, source)
            added = {f"{package.native_folder}/{name}": data for name, data in native.items()}
            wheel = assemble.make_wheel(staged, cell, {**added, **shop.provenance(cell, source)}, place)
        with shop.ledger.stage("verify", shop.runner):
            verdict = shop.gate(wheel, cell, lambda: torch_tree(cell, shop))
        report = {**verdict.report, "fingerprint": fingerprint, "undone": verdict.undone}
        if not verdict.ok:
            raise VerificationError(
                f"{cell.wheel} does not pass:\n" + "\n".join(verdict.problems),
                "nothing was written to the output folder",
            )
        if verdict.undone:
            report["ok"] = False
        target = outbox.publish(wheel, report, out, replace=replace)
    if verdict.undone:
        return CellResult(cell, "unproven", target, verdict.undone, "", ToolchainError.exit_code, report)
    return CellResult(cell, "built", target, report=report)


def tool_digest() -> str:
    """Digest of this program: what decides how wheels are put together and judged."""
    root = Path(__file__).parent.parent
    return digest([(p.relative_to(root).as_posix(), file_digest(p)) for p in sorted(root.rglob("*.py"))])
