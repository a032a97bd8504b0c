"""The parts of wheels: every cubin and every binding of the work once, whatever the number of cells."""

from __future__ import annotations

import platform as host
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from buildtool.errors import BuildToolError
from buildtool.make import binding, cubins, nvrtc, stage, toolchain
from buildtool.make.binding import Spec
from buildtool.make.compilers import compiler_for
from buildtool.make.estimate import duration, learn
from buildtool.make.locks import read_lock
from buildtool.make.schedule import Kernel, Work
from buildtool.make.toolchain import Toolchains, TorchTree
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import Cell

_SAY_SECONDS = 2.0
"""Progress is said no more often than this."""


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
    progress = _Progress(len(by_target), shop)

    with shop.ledger.stage("cubins", shop.runner) as runner:
        made, failed = cubins.make(
            by_target, kernels=kernels, store=shop.store, runner=runner, count=shop.jobs, report=progress
        )
    learn(shop.store, progress.costs)
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
            with shop.ledger.account(
                f"{spec.library} torch {spec.torch} {spec.platform} abi {int(spec.cxx11_abi)}"
            ) as ledger:
                result[spec] = _make_binding(spec, cell, replace(shop, ledger=ledger), kernels)
        except BuildToolError as error:
            result[spec] = error
    return result


def _make_binding(spec: Spec, cell: Cell, shop: Workshop, kernels: Path) -> Path:
    compiler = compiler_for(spec.platform, shop.environ, host.machine(), shop.runner)
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
    with shop.torch_lock, shop.ledger.stage("torch", shop.runner) as runner:
        toolchains = Toolchains(shop.store, runner, environ=shop.environ, users=shop.jobs + 1)
        return toolchains.torch(pins, read_lock(cell), cell.combo.python, cell.combo.platform, cell.torch_index)


class _Progress:
    """Counts finished cubins and says now and then how far it is. Called from several threads."""

    def __init__(self, total: int, shop: Workshop) -> None:
        self._left, self._shop = total, shop
        self._lock = threading.Lock()
        self._compiled, self._started, self._said = 0, time.monotonic(), 0.0
        self.costs: dict[str, float] = {}

    def __call__(self, outcome: nvrtc.Outcome | cubins.Cubin) -> None:
        with self._lock:
            self._left -= 1
            if isinstance(outcome, cubins.Cubin):
                self._shop.ledger.count("cubins from cache")
                return
            self._compiled += 1
            self._shop.ledger.count("NVRTC runs")
            self._shop.ledger.add("cubins", outcome.cpu)
            self._shop.ledger.charge(f"cubins {outcome.job.library.pin} {outcome.job.arch}", outcome.cpu)
            self.costs[outcome.job.name] = round(outcome.cpu, 2)
            now = time.monotonic()
            if self._left and now - self._said < _SAY_SECONDS:
                return
            self._said = now
            eta = duration((now - self._started) / self._compiled * self._left)
            done = f"{self._compiled} cubins compiled" + (f", {self._left} to go, {eta} left" if self._left else "")
            self._shop.say(f"{done}: {outcome.job.arch} {outcome.job.name} {outcome.cpu:.1f} s")
