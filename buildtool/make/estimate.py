"""What a build will cost, said before it starts: from what is cached, and from what the same things cost before."""

from __future__ import annotations

import json
import os
import platform as host
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make import binding, cubins, outbox
from buildtool.make.binding import Spec
from buildtool.make.compilers import compiler_for
from buildtool.make.locks import read_lock
from buildtool.make.schedule import Work
from buildtool.make.store import Store
from buildtool.make.toolchain import Toolchains
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import Cell

_COSTS = "costs.json"
# Used until this machine has its own experience. CPU seconds, as bench/results/build_cost.json has them.
KERNEL_SECONDS = 2.0
BINDING_SECONDS = 25.0
TREE_SECONDS = 15.0
FINISH_SECONDS = 9.0
# Of the torch and NVRTC wheels on PyPI, roughly: to download, and installed.
TORCH_BYTES, TORCH_INSTALLED = 0.9e9, 1.8e9
NVRTC_BYTES = 0.09e9


@dataclass(frozen=True)
class Estimate:
    """Counts are exact as far as the cache can tell without reading it all; seconds and bytes are experience."""

    wheels: int
    unchanged: int
    cubins: int
    cached_cubins: int
    bindings: int
    cached_bindings: int
    torch_trees: int
    cached_trees: int
    compilers: int
    cpu_seconds: float
    download_bytes: float
    disk_bytes: float
    free_bytes: float
    jobs: int

    def __str__(self) -> str:
        wall = self.cpu_seconds / self.jobs
        new_cubins, new_bindings = self.cubins - self.cached_cubins, self.bindings - self.cached_bindings
        new_trees, pairs = self.torch_trees - self.cached_trees, f"{self.torch_trees} pairs of torch and Python"
        tight = "; torch trees make room for each other" if self.disk_bytes > self.free_bytes else ""
        lines = [
            f"{self.wheels} wheels, {self.unchanged} of them already in the output folder",
            f"  cubins    {self.cubins}: {self.cached_cubins} cached, {new_cubins} to compile",
            f"  bindings  {self.bindings}: {self.cached_bindings} cached, {new_bindings} to compile",
            f"  torch     {pairs}: {self.cached_trees} cached, {new_trees} to fetch",
            f"  NVRTC     of {self.compilers} CUDA versions",
            f"  at most   {duration(self.cpu_seconds)} of CPU, {duration(wall)} with {self.jobs} jobs",
            f"  download  {size(self.download_bytes)}",
            f"  disk      {size(self.disk_bytes)}, {size(self.free_bytes)} free{tight}",
        ]
        return "\n".join(lines)


def estimate(work: Work, shop: Workshop, out: Path) -> Estimate:
    """Look at the store and the output folder, and reckon."""
    kernels = shop.project / "kernels"
    keys = cubins.keys(((k.instance, k.arch, k.nvrtc) for k in work.kernels), kernels, lineinfo=shop.lineinfo)
    costs = known(shop.store)
    seconds, cached = 0.0, 0
    for kernel, key in zip(work.kernels, keys, strict=True):
        if shop.store.path(cubins.KIND, key).is_dir():
            cached += 1
        else:
            seconds += costs.get(kernel.instance.name, KERNEL_SECONDS)
    cells = work.plan.cells
    missing = [cell for cell in cells if not _is_there(out / cell.wheel)]
    fresh = 0 if cached == len(work.kernels) and not missing else 1
    bindings = [_has_binding(spec, shop) for spec in work.bindings]
    # What a wheel in the output folder was made with is not fetched again.
    wanted = {(cell.pins.torch, cell.combo.python, cell.combo.platform, cell.torch_index): cell for cell in missing}
    trees = [_has_tree(cell, shop) for cell in wanted.values()]
    compilers = len({cell.pins.nvrtc for cell in cells})
    seconds += BINDING_SECONDS * bindings.count(False) + TREE_SECONDS * trees.count(False)
    return Estimate(
        wheels=len(cells),
        unchanged=len(cells) - len(missing),
        cubins=len(work.kernels),
        cached_cubins=cached,
        bindings=len(bindings),
        cached_bindings=sum(bindings),
        torch_trees=len(trees),
        cached_trees=sum(trees),
        compilers=compilers,
        cpu_seconds=seconds + FINISH_SECONDS * len(missing),
        download_bytes=trees.count(False) * TORCH_BYTES + compilers * NVRTC_BYTES * fresh,
        disk_bytes=trees.count(False) * TORCH_INSTALLED + compilers * NVRTC_BYTES * fresh,
        free_bytes=float(shutil.disk_usage(_existing(shop.store.root)).free),
        jobs=shop.jobs,
    )


def _is_there(wheel: Path) -> bool:
    return wheel.is_file() and outbox.report_path(wheel).is_file()


def _has_binding(spec: Spec, shop: Workshop) -> bool:
    try:
        compiler = compiler_for(spec.platform, shop.environ, host.machine(), shop.runner)
        key = binding.cache_key(spec, shop.project / "kernels", compiler, shop.runner)
    except ToolchainError:  # said when it is needed
        return False
    return shop.store.path(binding.KIND, key).is_dir()


def _has_tree(cell: Cell, shop: Workshop) -> bool:
    pins = (cell.pins.torch, cell.pins.runtime_headers, cell.pins.crt_headers)
    try:
        toolchains = Toolchains(shop.store, shop.runner)
        return toolchains.has_torch(pins, read_lock(cell), cell.combo.python, cell.combo.platform, cell.torch_index)
    except ToolchainError:  # said when it is needed
        return False


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def known(store: Store) -> Mapping[str, float]:
    """CPU seconds that each instance took the last time it was compiled here."""
    try:
        document = json.loads((store.root / _COSTS).read_bytes())
        return {str(name): float(cost) for name, cost in document.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def learn(store: Store, costs: Mapping[str, float]) -> None:
    """Remember what compiling cost. Not being able to is no error: it only makes the next estimate worse."""
    if costs:
        with suppress(OSError):
            path = store.root / _COSTS
            staged = path.with_suffix(f".{os.getpid()}")
            staged.write_text(json.dumps({**known(store), **costs}, sort_keys=True))
            staged.replace(path)


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"  # noqa: PLR2004


def size(count: float) -> str:
    """``12.3 GB``, ``4.1 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"  # noqa: PLR2004
