"""The cibuildwheel builder: the same wheel from a manylinux container, repaired for its platform tag, then verified.

The kernels are compiled outside, where they are the same bytes, and the container takes them and torch from the build
cache, which it mounts. So only the binding is compiled inside, against the container's glibc.
"""

from __future__ import annotations

import os
import platform as host
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from buildtool.errors import BuildToolError, CompileError, ToolchainError
from buildtool.make import assemble, outbox, parts, stage, wheel
from buildtool.make.interpreters import find_uv
from buildtool.make.native import prove_and_publish
from buildtool.make.runner import base_environment
from buildtool.make.schedule import Work
from buildtool.make.store import digest, file_digest
from buildtool.make.workshop import CellResult, Gate, Workshop
from buildtool.plan.cells import BuildPlan, Cell
from buildtool.plan.matrix import Matrix
from buildtool.render.cibuildwheel import identifier, render_config

VERSION = "4.3.5"
"""The cibuildwheel that is run; matrix.toml has the image that it pins."""
_CACHE = "/buildtool-cache"
_AUTHORITY = "/buildtool-ca.pem"
_AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")
_SKIPPED = shutil.ignore_patterns("__pycache__", "*.py[cod]", "_native", ".*", "*.egg-info")


def find_engine(shop: Workshop) -> str:
    """``docker`` or ``podman``, whichever answers; ``$BUILDTOOL_ENGINE`` decides if set. Raises ToolchainError."""
    chosen = shop.environ.get("BUILDTOOL_ENGINE")
    for engine in [chosen] if chosen else ["docker", "podman"]:
        path = shutil.which(engine, path=shop.environ.get("PATH"))
        if path and shop.runner.run([path, "info"], env=base_environment(shop.environ), timeout=60).returncode == 0:
            return engine
    raise ToolchainError(
        f"no container engine answers ({chosen or 'docker, podman'})",
        "install and start docker or podman, or choose platform=linux_x86_64, which needs none",
    )


def divide(plan: BuildPlan, builder: str, matrix: Matrix, shop: Workshop) -> tuple[BuildPlan, BuildPlan]:
    """The cells for cibuildwheel and those for the native builder.

    ``auto`` gives cibuildwheel the cells that have an image, if an engine answers and has that image.
    """
    if builder == "native":
        return BuildPlan(()), plan
    if builder == "cibuildwheel":
        return plan, BuildPlan(())
    images = {cell: _image(cell, matrix, shop) for cell in plan.cells}
    obstacles = {image: _obstacle(image, shop) for image in dict.fromkeys(images.values()) if image}
    for image, why in obstacles.items():
        if why:
            platforms = dict.fromkeys(cell.combo.platform for cell in plan.cells if images[cell] == image)
            shop.say(f"{', '.join(platforms)}: built without a container; {why}")
    contained = tuple(cell for cell in plan.cells if obstacles.get(images[cell]) == "")
    return BuildPlan(contained), BuildPlan(tuple(cell for cell in plan.cells if cell not in contained))


def _image(cell: Cell, matrix: Matrix, shop: Workshop) -> str:
    """The image that the cell is built in: ``$BUILDTOOL_IMAGE``, else the matrix's; empty if there is none for it."""
    facts = matrix.facts.platform[cell.combo.platform]
    if facts.os != "linux" or facts.machine != host.machine():
        return ""
    return shop.environ.get("BUILDTOOL_IMAGE") or facts.container or ""


def _obstacle(image: str, shop: Workshop) -> str:
    """Why the image is not at hand; empty if it is."""
    try:
        engine = find_engine(shop)
    except ToolchainError as error:
        return error.message
    look = [engine, "image", "inspect", image]
    found = shop.runner.run(look, env=base_environment(shop.environ), timeout=60).returncode == 0
    return "" if found else f"{engine} does not have its image: {engine} pull {image}"


def build(
    work: Work, shop: Workshop, matrix: Matrix, out: Path, gate: Gate, *, replace: bool = False
) -> tuple[CellResult, ...]:
    """Build, repair, verify and publish every cell of the work, one after the other."""
    engine = find_engine(shop)
    outbox.sweep(out)
    made = parts.make_cubins(work, shop)
    results = []
    for index, cell in enumerate(work.plan.cells):
        try:
            for kernel in work.kernels_of[index]:
                if isinstance(error := made[kernel], BuildToolError):
                    raise error
            parts.torch_tree(cell, shop)
            result = _build_cell(cell, shop, matrix, engine, out, gate, replace=replace)
        except BuildToolError as error:
            result = CellResult(cell, "failed", None, error.message, error.hint, error.exit_code)
        shop.say(f"[{index + 1}/{len(work.plan.cells)}] {result.status:>9} {cell.wheel}")
        results.append(result)
    return tuple(results)


def _build_cell(
    cell: Cell, shop: Workshop, matrix: Matrix, engine: str, out: Path, gate: Gate, *, replace: bool
) -> CellResult:
    package = shop.packages[cell.combo.package]
    with tempfile.TemporaryDirectory(prefix="buildtool-") as name:
        folder = Path(name)
        project = stage_project(shop.project, package, cell, folder)
        config = folder / "cibuildwheel.toml"
        config.write_text(config_text(cell, shop, matrix, engine), "utf-8")
        inputs = {"config": config.read_text(), "project": _tree_digest(project)}
        source = stage.source_digest(project / "kernels", project / package.folder, package.name)

        def write(place: Path) -> Path:
            argv: list[str | Path] = [find_uv(), "tool", "run", "--from", f"cibuildwheel[uv]=={VERSION}", "--python"]
            argv += [sys.executable, "cibuildwheel", "--only", identifier(cell), "--config-file", config]
            argv += ["--output-dir", folder / "wheelhouse", project / package.folder]
            env = base_environment(shop.environ)
            result = shop.runner.run(argv, cwd=project, env=env, timeout=3600)
            found = sorted((folder / "wheelhouse").glob("*.whl"))
            if result.returncode != 0 or len(found) != 1:
                # Findings of the verifier and messages of compilers are on different streams.
                tail = "\n".join(line for text in (result.stdout, result.stderr) for line in text.splitlines()[-25:])
                raise CompileError(f"cibuildwheel did not build {cell.wheel}:\n{tail}", "run what -v shows by hand")
            target = place / cell.wheel
            # The copy in the container knows nothing of the commit it was made from: its provenance is said here.
            tag, added = assemble.tag_of(cell), shop.provenance(cell, source)
            wheel.finish(found[0], target, tag=tag, build_tag=cell.build_tag, added=added, timestamp=wheel.epoch())
            return target

        return prove_and_publish(cell, digest(inputs), write, shop, out, gate, replace=replace)


def config_text(cell: Cell, shop: Workshop, matrix: Matrix, engine: str) -> str:
    """The configuration here: cache and certificate authority are mounted, this program judges the repaired wheel."""
    mounts = ["--volume", f"{shop.store.root.parent}:{_CACHE}"]
    environment = {"BUILDTOOL_CACHE": _CACHE}
    authority = next((shop.environ[name] for name in _AUTHORITY_VARIABLES if shop.environ.get(name)), None)
    if authority:
        mounts += ["--volume", f"{Path(authority).resolve()}:{_AUTHORITY}:ro"]
        environment |= dict.fromkeys(_AUTHORITY_VARIABLES, _AUTHORITY)
    return render_config(
        matrix,
        cell,
        audit=f"{shlex.quote(sys.executable)} -m buildtool verify {{wheel}}",
        engine=engine,
        create_args=mounts,
        environment=environment,
        image=shop.environ.get("BUILDTOOL_IMAGE", ""),
    )


def stage_project(project: Path, package: stage.Package, cell: Cell, folder: Path) -> Path:
    """Copy what a build in a container needs, with the cell's pins: cibuildwheel takes the whole folder in with it."""
    target = folder / "project"
    for name in ("buildtool", "kernels"):
        shutil.copytree(project / name, target / name, ignore=_SKIPPED)
    for name in ("matrix.toml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(project / name, target / name)
    staged = stage.stage_package(project, package, cell, folder)
    shutil.copytree(staged, target / package.folder, dirs_exist_ok=True)
    for extra in (project / package.folder).glob("_*.py"):
        shutil.copyfile(extra, target / package.folder / extra.name)
    return target


def _tree_digest(folder: Path) -> Mapping[str, str]:
    files = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in sorted(files)}
