"""The native builder: cubins ▸ binding ▸ wheel ▸ verification ▸ ``dist/``, on this machine without a container."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import BuildToolError, ToolchainError, VerificationError
from buildtool.make import assemble, cubins, outbox, stage
from buildtool.make.estimate import duration
from buildtool.make.parts import make_parts, parts_of, torch_tree
from buildtool.make.schedule import Kernel, Work
from buildtool.make.store import digest, file_digest
from buildtool.make.workshop import CellResult, Gate, Workshop
from buildtool.plan.cells import Cell


def build(work: Work, shop: Workshop, out: Path, gate: Gate, *, replace: bool = False) -> tuple[CellResult, ...]:
    """Build, verify and publish every cell of the work. One cell's failure does not stop the others.

    Wheels are finished side by side, cells of one torch after another. Raises BuildToolError only for what
    concerns all cells (the sources, the store, the output folder).
    """
    outbox.sweep(out)
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        folder = Path(name)
        kernels = stage.snapshot_kernels(shop.project, folder)
        made, bindings = make_parts(work, shop, kernels)
        total, started = len(work.plan.cells), time.monotonic()
        finished = itertools.count(1)

        def finish(index: int) -> CellResult:
            cell = work.plan.cells[index]
            try:
                library = bindings[work.binding_of[index]]
                ready, binary = parts_of(cell, work.kernels_of[index], made, library)
                with shop.ledger.account(cell.wheel) as ledger:
                    own = dataclasses.replace(shop, ledger=ledger)
                    with ledger.stage("wheel", shop.runner):
                        composition = compose(cell, ready, binary, own, kernels, folder / str(index))
                    write = functools.partial(write_wheel, composition, own)
                    key = composition.fingerprint
                    result = prove_and_publish(cell, key, write, own, out, gate, replace=replace)
            except BuildToolError as error:
                result = CellResult(cell, "failed", None, error.message, error.hint, error.exit_code)
            shutil.rmtree(folder / str(index), ignore_errors=True)
            done = next(finished)
            left = (time.monotonic() - started) / done * (total - done)
            shop.say(f"[{done}/{total}, {duration(left)} left] {result.status:>9} {cell.wheel}")
            return result

        order = sorted(range(total), key=lambda i: (work.plan.cells[i].pins.torch, work.plan.cells[i].combo.python))
        # One more than there are jobs: it fetches the next torch while the others verify.
        pool = ThreadPoolExecutor(max_workers=shop.jobs + 1)
        try:
            results = dict(zip(order, pool.map(finish, order), strict=True))
        except BaseException:
            shop.runner.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return tuple(results[index] for index in range(total))


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


def prove_and_publish(
    cell: Cell,
    fingerprint: str,
    write: Callable[[Path], Path],
    shop: Workshop,
    out: Path,
    gate: Gate,
    *,
    replace: bool,
) -> CellResult:
    """Let ``write`` put the cell's wheel into a staging folder, judge it, and move it to ``out``.

    Nothing is done if ``out`` has the wheel of this ``fingerprint`` already, proven and unchanged.
    """
    target = out / cell.wheel
    if (known := outbox.proven(target, fingerprint)) is not None:
        return CellResult(cell, "unchanged", target, report=known)
    with outbox.staging(out) as place:
        with shop.ledger.stage("wheel", shop.runner):
            wheel = write(place)
        with shop.ledger.stage("verify", shop.runner) as runner:
            verdict = gate(wheel, cell, lambda: torch_tree(cell, shop), runner)
        if not verdict.ok:
            problems = "\n".join(verdict.problems)
            raise VerificationError(
                f"{cell.wheel} does not pass:\n{problems}", "it was not written to the output folder"
            )
        report = {**verdict.report, "ok": not verdict.undone, "fingerprint": fingerprint, "undone": verdict.undone}
        target = outbox.publish(wheel, report, out, replace=replace)
    if verdict.undone:
        return CellResult(cell, "unproven", target, verdict.undone, "", ToolchainError.exit_code, report)
    return CellResult(cell, "built", target, report=report)


@functools.cache
def tool_digest() -> str:
    """Digest of this program: what decides how wheels are put together and judged."""
    root = Path(__file__).parent.parent
    files = (path for part in ("plan", "make", "prove") for path in sorted((root / part).rglob("*.py")))
    return digest([(path.relative_to(root).as_posix(), file_digest(path)) for path in files])
