"""What a build will cost, said before it starts: from what is cached, and from what the same things cost before."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from buildtool.make import cubins, outbox
from buildtool.make.schedule import Work
from buildtool.make.store import Store
from buildtool.make.workshop import Workshop

_COSTS = "costs.json"
# Used until this machine has its own experience. CPU seconds, as bench/results/build_cost.json has them.
_KERNEL_SECONDS = 2.0
_BINDING_SECONDS = 25.0
_TREE_SECONDS = 15.0
_FINISH_SECONDS = 9.0
# Of the torch and NVRTC wheels on PyPI, roughly: to download, and installed.
_TORCH_BYTES, _TORCH_INSTALLED = 0.9e9, 1.8e9
_NVRTC_BYTES = 0.09e9


@dataclass(frozen=True)
class Estimate:
    """Counts are exact as far as the cache can tell without reading it all; seconds and bytes are experience."""

    wheels: int
    unchanged: int
    cubins: int
    cached_cubins: int
    bindings: int
    torch_trees: int
    compilers: int
    cpu_seconds: float
    download_bytes: float
    disk_bytes: float
    jobs: int

    def __str__(self) -> str:
        wall = self.cpu_seconds / self.jobs
        lines = [
            f"{self.wheels} wheels, {self.unchanged} of them already in the output folder",
            f"  cubins    {self.cubins}: {self.cached_cubins} cached, {self.cubins - self.cached_cubins} to compile",
            f"  bindings  {self.bindings}",
            f"  torch     {self.torch_trees} pairs of torch and Python; NVRTC of {self.compilers} CUDA versions",
            f"  at most   {duration(self.cpu_seconds)} of CPU, {duration(wall)} with {self.jobs} jobs",
            f"            {_size(self.download_bytes)} to download, {_size(self.disk_bytes)} of disk",
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
            seconds += costs.get(kernel.instance.name, _KERNEL_SECONDS)
    cells = work.plan.cells
    unchanged = sum(outbox.report_path(out / cell.wheel).is_file() and (out / cell.wheel).is_file() for cell in cells)
    fresh = 0 if cached == len(work.kernels) and unchanged == len(cells) else 1
    trees = len({(cell.pins.torch, cell.combo.python, cell.combo.platform) for cell in cells}) * fresh
    compilers = len({cell.pins.nvrtc for cell in cells})
    seconds += fresh * (_BINDING_SECONDS * len(work.bindings) + _TREE_SECONDS * trees + _FINISH_SECONDS * len(cells))
    return Estimate(
        wheels=len(cells),
        unchanged=unchanged,
        cubins=len(work.kernels),
        cached_cubins=cached,
        bindings=len(work.bindings),
        torch_trees=trees,
        compilers=compilers,
        cpu_seconds=seconds,
        download_bytes=trees * _TORCH_BYTES + compilers * _NVRTC_BYTES * fresh,
        disk_bytes=trees * _TORCH_INSTALLED + compilers * _NVRTC_BYTES * fresh,
        jobs=shop.jobs,
    )


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


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
