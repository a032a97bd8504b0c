"""What a plan needs of GitHub, beside what GitHub gives: jobs, hours, disk, and the size and number of assets. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from buildtool.make.estimate import (
    BINDING_SECONDS,
    FINISH_SECONDS,
    KERNEL_SECONDS,
    NVRTC_BYTES,
    TORCH_INSTALLED,
    TREE_SECONDS,
    duration,
    size,
)
from buildtool.make.schedule import kernels_for
from buildtool.plan.cells import Cell
from buildtool.plan.instances import Instance
from buildtool.publish.release import MAX_ASSET_BYTES, MAX_ASSETS, assets_of
from buildtool.render.ci import MAX_ROWS, cubin_rows, shards

JOB_SECONDS = 6 * 3600.0
"""The longest that a job may run on a hosted runner (docs.github.com, "Actions limits")."""
DISK_BYTES = 14e9
"""What a hosted runner has free at least (docs.github.com, "GitHub-hosted runners reference")."""
_CUBIN_BYTES = 21e3
"""Of a cubin inside a wheel, for wheels that are not built yet: 19.6e3 to 20.6e3 in those of the whole matrix."""


@dataclass(frozen=True)
class Need:
    """One limit, and how near the plan comes to it."""

    what: str
    needed: float
    limit: float
    text: str
    """Both, as people read them."""
    remedy: str

    @property
    def fits(self) -> bool:
        return self.needed <= self.limit


def budget(
    cells: Sequence[Cell],
    instances: Sequence[Instance],
    costs: Mapping[str, float],
    sizes: Mapping[str, int],
) -> tuple[Need, ...]:
    """``costs`` are CPU seconds by kernel instance where known, ``sizes`` bytes of wheels by file name where known.

    Times are for one core: a runner has more, so the true ones are shorter.
    """
    parts = shards(cells)
    jobs = max(max(len(part), len(cubin_rows(part))) for part in parts)
    seconds: defaultdict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for cell in cells:
        for kernel in kernels_for(cell, instances):
            cost = costs.get(kernel.instance.name, KERNEL_SECONDS)
            seconds[kernel.nvrtc, kernel.arch][cell.combo.package, kernel.instance.name] = cost
    longest = max([*(sum(row.values()) for row in seconds.values()), BINDING_SECONDS + TREE_SECONDS + FINISH_SECONDS])
    largest = max(sizes.get(cell.wheel, len(kernels_for(cell, instances)) * _CUBIN_BYTES) for cell in cells)
    disk = TORCH_INSTALLED + NVRTC_BYTES + 3 * largest
    return (
        Need("jobs of one matrix", jobs, MAX_ROWS, f"{jobs} in {_runs(parts)}, of {MAX_ROWS}", "select fewer cells"),
        _need("longest job", longest, JOB_SECONDS, duration, "split the kernels' families into more instances"),
        _need("disk of one job", disk, DISK_BYTES, size, "free disk in the job, or ship fewer architectures"),
        _need("largest asset", largest, MAX_ASSET_BYTES, size, "ship fewer architectures"),
        _need("assets of a release", assets_of(len(cells)), MAX_ASSETS, "{:.0f}".format, "publish in several releases"),
    )


def _need(what: str, needed: float, limit: float, spell: Callable[[float], str], remedy: str) -> Need:
    return Need(what, needed, limit, f"{spell(needed)}, of {spell(limit)}", remedy)


def _runs(parts: Sequence[Sequence[Cell]]) -> str:
    return "1 run" if len(parts) == 1 else f"{len(parts)} runs"
