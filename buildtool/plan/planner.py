"""Plans: combos with every fact that building and verifying them needs."""

from __future__ import annotations

from collections.abc import Iterable

from buildtool.errors import UsageError
from buildtool.plan.cells import BuildPlan, Cell, Combo, Pins
from buildtool.plan.matrix import Matrix, sort
from buildtool.plan.tags import build_tag, decode, minor_of, parse_filename, wheel_filename


def make_plan(matrix: Matrix, combos: Iterable[Combo]) -> BuildPlan:
    """The plan for ``combos``, cells in canonical order."""
    return BuildPlan(tuple(make_cell(matrix, combo) for combo in sort(tuple(combos))))


def make_cell(matrix: Matrix, combo: Combo) -> Cell:
    """One cell. The combo must be one of the matrix's."""
    facts = matrix.facts
    package, platform, cuda = facts.package[combo.package], facts.platform[combo.platform], facts.cuda[combo.cuda]
    torch = matrix.torch_facts(combo.torch)
    tag = build_tag(combo.torch, combo.cuda)
    archs = cuda.archs.aarch64 if platform.machine == "aarch64" else cuda.archs.x86_64
    linux = platform.os == "linux"
    old_abi = [linux and version in torch.pre_cxx11_abi_cuda for version in (combo.cuda, torch.pypi_cuda)]
    # The binding is compiled against PyPI's wheel of the release, so with the headers of that wheel's CUDA version.
    headers = facts.cuda[torch.pypi_cuda] if linux else cuda
    return Cell(
        combo=combo,
        version=package.version,
        build_tag=tag,
        wheel=wheel_filename(combo.package, package.version, tag, combo.python, combo.platform),
        archs=tuple(arch for arch in archs if not package.archs or arch in package.archs),
        pins=Pins(
            torch=f"torch=={combo.torch}",
            nvrtc=cuda.nvrtc,
            runtime_headers=headers.runtime_headers,
            crt_headers=headers.crt_headers,
        ),
        torch_requirement=f"torch=={minor_of(combo.torch)}.*",
        torch_index="pypi" if linux and combo.cuda == torch.pypi_cuda else f"cu{combo.cuda.replace('.', '')}",
        cxx_standard=torch.cxx_standard,
        cxx11_abi=not old_abi[0],
        min_driver=cuda.min_driver.linux if linux else cuda.min_driver.windows,
        experimental=combo.cuda in torch.experimental_cuda,
        pypi_twin=old_abi[0] == old_abi[1],
    )


def cell_of_wheel(matrix: Matrix, filename: str) -> Cell:
    """The cell whose wheel has this file name. Raises UsageError if the matrix has no such cell."""
    try:
        name, version, tag, python, platform = parse_filename(filename)
        torch, cuda = decode(tag, matrix.pairs())
    except ValueError as error:
        raise UsageError(f"{filename} is no wheel of this matrix: {error}", "see `plan set=all`") from error
    for combo in matrix.combos:
        if (combo.torch, combo.cuda, combo.python, combo.platform) == (torch, cuda, python, platform):
            cell = make_cell(matrix, combo)
            if cell.wheel == filename:
                return cell
    raise UsageError(
        f"{filename} is no wheel of this matrix: no cell has {name} {version} for it", "see `plan set=all`"
    )
