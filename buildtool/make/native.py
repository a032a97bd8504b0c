"""The native builder: cubins ▸ binding ▸ wheel ▸ verification ▸ ``dist/``, on this machine without a container."""

from __future__ import annotations

import functools
import os
import platform as host
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from buildtool.errors import BuildToolError, ToolchainError, VerificationError
from buildtool.make import assemble, binding, cubins, nvrtc, outbox, stage, toolchain
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
    provenance: Provenance
    jobs: int
    lineinfo: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    say: Callable[[str], None] = lambda _: None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    installed: toolchain.Installed | None = None
    """Toolchain wheels that a build front end installed; used where their versions are the cell's pins."""


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


def build(work: Work, shop: Workshop, out: Path, gate: Gate, *, replace: bool = False) -> tuple[CellResult, ...]:
    """Build, verify and publish every cell of the work. One cell's failure does not stop the others.

    Raises BuildToolError only for what concerns all cells (the sources, the store, the output folder).
    """
    outbox.sweep(out)
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        folder = Path(name)
        kernels = stage.snapshot_kernels(shop.project, folder)
        made, bindings = make_parts(work, shop, kernels)
        results = []
        for index, cell in enumerate(work.plan.cells):
            try:
                library = bindings[work.binding_of[index]]
                ready, binary = parts_of(cell, work.kernels_of[index], made, library)
                with shop.ledger.stage("wheel", shop.runner):
                    composition = compose(cell, ready, binary, shop, kernels, folder / str(index))
                result = _prove_and_publish(composition, shop, out, gate, replace=replace)
            except BuildToolError as error:
                result = CellResult(cell, "failed", None, error.message, error.hint, error.exit_code)
            shop.say(f"{result.status:>9}  {cell.wheel}")
            results.append(result)
        return tuple(results)


def make_parts(
    work: Work, shop: Workshop, kernels: Path
) -> tuple[dict[Kernel, cubins.Cubin | BuildToolError], dict[Spec, Path | BuildToolError]]:
    """Every cubin and every binding of the work; downloads and the host compiler run beside NVRTC."""
    try:
        with ThreadPoolExecutor(max_workers=1) as side:
            pending = side.submit(_make_bindings, work, shop, kernels)
            return _make_cubins(work, shop, kernels), pending.result()
    except BaseException:
        shop.runner.terminate()
        raise


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
                    libraries[pin] = _library(cell, shop, toolchains)
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


def _library(cell: Cell, shop: Workshop, toolchains: Toolchains) -> nvrtc.Library:
    pin = cell.pins.nvrtc
    if shop.installed is not None and (root := shop.installed.root_of([pin])) is not None:
        return toolchain.find_library(root, pin)
    return toolchains.nvrtc(pin, read_lock(cell))


def torch_tree(cell: Cell, shop: Workshop) -> TorchTree:
    """The cell's torch with headers, installed now if it was not there."""
    pins = (cell.pins.torch, cell.pins.runtime_headers, cell.pins.crt_headers)
    if shop.installed is not None and (root := shop.installed.root_of(pins)) is not None:
        return TorchTree(root, pins)
    with shop.ledger.stage("torch", shop.runner) as runner:
        toolchains = Toolchains(shop.store, runner, environ=shop.environ)
        return toolchains.torch(pins, read_lock(cell), cell.combo.python, cell.combo.platform)


def parts_of(
    cell: Cell,
    kernels: Sequence[Kernel],
    made: Mapping[Kernel, cubins.Cubin | BuildToolError],
    library: Path | BuildToolError,
) -> tuple[dict[Kernel, cubins.Cubin], Path]:
    """The cubins and the binding of a cell. Raises the first error that kept one of them from being made."""
    ready: dict[Kernel, cubins.Cubin] = {}
    errors: dict[BuildToolError, None] = {}
    for kernel in kernels:
        part = made[kernel]
        if isinstance(part, BuildToolError):
            errors[part] = None
        else:
            ready[kernel] = part
    if isinstance(library, BuildToolError):
        errors[library] = None
    for first in errors:
        more = f"\n(and {len(errors) - 1} more errors for {cell.wheel})" if len(errors) > 1 else ""
        raise type(first)(first.message + more, first.hint)
    if isinstance(library, BuildToolError):  # unreachable: it would be among the errors
        raise library
    return ready, library


@dataclass(frozen=True)
class Composition:
    """A staged package with everything that its wheel needs."""

    cell: Cell
    staged: Path
    source_digest: str
    native: Mapping[str, bytes]
    """Contents of ``_native/`` by relative path."""
    fingerprint: str
    """Digest of all inputs: equal fingerprints, equal wheels."""


def compose(
    cell: Cell, ready: Mapping[Kernel, cubins.Cubin], library: Path, shop: Workshop, kernels: Path, folder: Path
) -> Composition:
    """Stage the package of a cell in ``folder`` and put its cubins and its binding together."""
    package = shop.packages[cell.combo.package]
    staged = stage.stage_package(shop.project, package, cell, folder)
    source = stage.source_digest(kernels, staged, package.name)
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
    return Composition(cell, staged, source, assemble.native_files(cell, files, library, source), fingerprint)


def write_wheel(made: Composition, shop: Workshop, output: Path) -> Path:
    """Write the wheel of a composition into the folder ``output``."""
    cell = made.cell
    native = shop.packages[cell.combo.package].native_folder
    added = {f"{native}/{name}": data for name, data in made.native.items()}
    return assemble.make_wheel(made.staged, cell, {**added, **shop.provenance(cell, made.source_digest)}, output)


def _prove_and_publish(made: Composition, shop: Workshop, out: Path, gate: Gate, *, replace: bool) -> CellResult:
    cell, target = made.cell, out / made.cell.wheel
    if (known := outbox.proven(target, made.fingerprint)) is not None:
        return CellResult(cell, "unchanged", target, report=known)
    with outbox.staging(out) as place:
        with shop.ledger.stage("wheel", shop.runner):
            wheel = write_wheel(made, shop, place)
        with shop.ledger.stage("verify", shop.runner):
            verdict = gate(wheel, cell, lambda: torch_tree(cell, shop))
        if not verdict.ok:
            problems = "\n".join(verdict.problems)
            raise VerificationError(
                f"{cell.wheel} does not pass:\n{problems}", "it was not written to the output folder"
            )
        report = {**verdict.report, "ok": not verdict.undone, "fingerprint": made.fingerprint, "undone": verdict.undone}
        target = outbox.publish(wheel, report, out, replace=replace)
    if verdict.undone:
        return CellResult(cell, "unproven", target, verdict.undone, "", ToolchainError.exit_code, report)
    return CellResult(cell, "built", target, report=report)


@functools.cache
def tool_digest() -> str:
    """Digest of this program: what decides how wheels are put together and judged."""
    root = Path(__file__).parent.parent
    return digest([(p.relative_to(root).as_posix(), file_digest(p)) for p in sorted(root.rglob("*.py"))])
