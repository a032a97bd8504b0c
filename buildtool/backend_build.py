"""What the backend's hooks do, on Python 3.11 and up: find the pinned cell, make its parts, write its wheel."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from buildtool.errors import BuildToolError, ConfigError, Fault, UsageError
from buildtool.make import assemble, native, nvrtc, parts, stage, wheel
from buildtool.make.runner import Processes
from buildtool.make.schedule import work_of
from buildtool.make.store import Store, default_root
from buildtool.make.toolchain import Installed
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.instances import parse_instances
from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.plan.planner import make_cell
from buildtool.prove.gate import provenance_of


def run(request: dict[str, Any], tree: Path) -> str:
    """Build the wheel or editable wheel of the source tree ``tree``; returns its file name."""
    settings: dict[str, str] = request["settings"]
    project = project_of(tree)
    matrix = load_matrix(project / "matrix.toml")
    text = (tree / "pyproject.toml").read_text("utf-8")
    cell = pinned_cell(matrix, text, request["python"], settings.get("platform") or request["platform"])
    package = stage.Package(cell.combo.package, Path(os.path.relpath(tree, project)))
    instances = parse_instances((project / "kernels" / "instances.toml").read_text("utf-8"))
    runner = Processes()
    shop = Workshop(
        project=project,
        packages={package.name: package},
        store=Store(default_root()),
        runner=runner,
        provenance=provenance_of(project, {package.name: package}, runner),
        jobs=int(settings.get("jobs") or nvrtc.workers()),
        lineinfo=settings.get("lineinfo") == "1",
        installed=Installed(tuple(Path(path) for path in request["paths"])),
        say=lambda text: print(text, file=sys.stderr),  # noqa: T201 - a front end shows a hook's stderr
    )
    work = work_of(BuildPlan((cell,)), instances)
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        folder = Path(name)
        kernels = stage.snapshot_kernels(project, folder)
        made, bindings = parts.make_parts(work, shop, kernels)
        ready, library = parts.parts_of(cell, work.kernels_of[0], made, bindings[work.binding_of[0]])
        composition = native.compose(cell, ready, library, shop, kernels, folder / "cell")
        finished = (_editable if request["kind"] == "editable" else _wheel)(composition, shop, tree, folder)
        return _deliver(finished, Path(request["folder"]), settings.get("build-tag", cell.build_tag), cell)


def project_of(tree: Path) -> Path:
    """The folder with matrix.toml and kernels/: the source tree itself, or the one above it."""
    for folder in (tree, tree.parent):
        if (folder / "matrix.toml").is_file() and (folder / "kernels").is_dir():
            return folder
    raise UsageError(f"neither {tree} nor the folder above it has matrix.toml and kernels/", "build in a full checkout")


def pinned_cell(matrix: Matrix, text: str, python: str, platform: str) -> Cell:
    """The cell whose pins stand in the text of a pyproject.toml. Raises UsageError if the matrix has none."""
    document = tomllib.loads(text)
    name = document.get("project", {}).get("name", "")
    pins = {str(Requirement(r)) for r in document.get("build-system", {}).get("requires", [])}
    for combo in matrix.combos:
        if (combo.package, combo.python, combo.platform) == (name, python, platform):
            cell = make_cell(matrix, combo)
            if {cell.pins.torch, cell.pins.nvrtc} <= pins:
                return cell
    exact = sorted(pin for pin in pins if re.match(r"torch==|nvidia-cuda-nvrtc", pin))
    if not exact:
        key = "build-system.requires"
        raise ConfigError([Fault("pyproject.toml", key, "has no exact pins", hint="python -m buildtool pins")])
    raise UsageError(
        f"the matrix has no {name} for {' and '.join(exact)} with Python {python} on {platform}",
        "choose another cell with `python -m buildtool pins torch=… cuda=…`, or another Python",
    )


def _wheel(made: native.Composition, shop: Workshop, tree: Path, folder: Path) -> Path:
    del tree
    return native.write_wheel(made, shop, folder / "out")


def _editable(made: native.Composition, shop: Workshop, tree: Path, folder: Path) -> Path:
    """Exchange ``_native/`` in the tree for the new one, and let hatchling write the wheel that points there."""
    from hatchling.builders.wheel import WheelBuilder  # noqa: PLC0415

    package = shop.packages[made.cell.combo.package]
    target = tree / package.native_folder
    fresh = target.with_name(f".{stage.NATIVE}.{os.getpid()}")
    try:
        for name, data in made.native.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except OSError as error:
        raise BuildToolError(f"cannot write {target}: {error.strerror}", "make the tree writable") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    pure = Path(next(iter(WheelBuilder(str(tree)).build(directory=str(folder / "pure"), versions=["editable"]))))
    output = folder / made.cell.wheel
    wheel.finish(
        pure, output, tag=assemble.tag_of(made.cell), build_tag=made.cell.build_tag, added={}, timestamp=wheel.epoch()
    )
    return output


def _deliver(finished: Path, folder: Path, build_tag: str, cell: Cell) -> str:
    """Move the wheel to where the front end wants it, under the asked build tag; returns its name."""
    name = cell.wheel.replace(f"-{cell.build_tag}-", f"-{build_tag}-" if build_tag else "-", 1)
    if name != cell.wheel:
        other = finished.with_name(name)
        wheel.finish(finished, other, tag=assemble.tag_of(cell), build_tag=build_tag, added={}, timestamp=wheel.epoch())
        finished = other
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{name}.{os.getpid()}"
    shutil.copyfile(finished, staged)
    staged.replace(folder / name)
    return name
