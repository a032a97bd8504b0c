"""What a plan comes to: each cubin and each binding once, however many cells share it (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from buildtool.make.binding import Spec
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.instances import Instance, for_arch


@dataclass(frozen=True)
class Kernel:
    """One cubin to be: an instance, an architecture, and the pin of the compiler."""

    instance: Instance
    arch: str
    nvrtc: str


@dataclass(frozen=True)
class Work:
    """Everything a plan needs, without duplicates, in the order of the cells."""

    plan: BuildPlan
    kernels: tuple[Kernel, ...]
    bindings: tuple[Spec, ...]
    kernels_of: tuple[tuple[Kernel, ...], ...]
    """The kernels of each cell, in the order of the plan."""
    binding_of: tuple[Spec, ...]
    """The binding of each cell, in the order of the plan."""


def work_of(plan: BuildPlan, instances: Sequence[Instance]) -> Work:
    """Share what can be shared: a cubin among all cells of a CUDA version, a binding among those of a torch release."""
    kernels_of = tuple(kernels_for(cell, instances) for cell in plan.cells)
    binding_of = tuple(binding_for(cell) for cell in plan.cells)
    kernels = dict.fromkeys(kernel for kernels in kernels_of for kernel in kernels)
    return Work(plan, tuple(kernels), tuple(dict.fromkeys(binding_of)), kernels_of, binding_of)


def kernels_for(cell: Cell, instances: Sequence[Instance]) -> tuple[Kernel, ...]:
    """The cubins that the wheel of a cell contains."""
    return tuple(
        Kernel(instance, arch, cell.pins.nvrtc)
        for arch in cell.archs
        for instance in for_arch(tuple(instances), cell.combo.package, arch, cell.combo.cuda)
    )


def binding_for(cell: Cell) -> Spec:
    """The binding of a cell."""
    return Spec(
        source=f"binding/{cell.combo.package}.cpp",
        platform=cell.combo.platform,
        torch=cell.combo.torch,
        cxx_standard=cell.cxx_standard,
        cxx11_abi=cell.cxx11_abi,
        header_pins=(cell.pins.torch, cell.pins.runtime_headers, cell.pins.crt_headers),
        twin=cell.pypi_twin,
    )
