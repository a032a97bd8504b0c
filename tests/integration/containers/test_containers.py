"""Wheels that really come out of containers: by cibuildwheel, by the Dockerfile, by bake.

They need an engine that answers and an image that is there: that of matrix.toml, or the one that $BUILDTOOL_IMAGE
names, such as the stand-in that standin.sh makes. Nothing is pulled here; `nox -s containers` does it before.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from buildtool.make import cibuildwheel
from buildtool.make.runner import Processes
from buildtool.make.store import Store, default_root
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import Cell
from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.render.naming import cell_name

pytestmark = pytest.mark.integration

PLATFORM = "manylinux_2_28_x86_64"
_CONTEXTS = 23
"""The first docker that replaces a base image by a build context."""


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.toml")


def cell_of(matrix: Matrix, package: str, platform: str) -> Cell:
    words = [f"package={package}", "torch=2.8", "cuda=12.8", "python=3.12", f"platform={platform}"]
    (cell,) = make_plan(matrix, select(matrix, words)).cells
    return cell


@pytest.fixture(scope="module")
def engine(root: Path, matrix: Matrix) -> str:
    said: list[str] = []
    shop = Workshop(root, {}, Store(default_root()), Processes(), lambda *_: {}, jobs=1, say=said.append)
    plan = make_plan(matrix, [cell_of(matrix, "sageattn3", PLATFORM).combo])
    if not cibuildwheel.divide(plan, "auto", matrix, shop)[0].cells:
        pytest.skip(said[0] if said else "the images of the matrix are for another machine")
    return cibuildwheel.find_engine(shop)


@pytest.fixture(scope="module")
def image(matrix: Matrix) -> str:
    return os.environ.get("BUILDTOOL_IMAGE") or str(matrix.facts.platform[PLATFORM].container)


def run(root: Path, *argv: str | Path) -> str:
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def build(root: Path, builder: str, cell: Cell, out: Path) -> Path:
    combo = cell.combo
    words = [f"{axis}={getattr(combo, axis)}" for axis in ("package", "torch", "cuda", "python", "platform")]
    run(root, sys.executable, "-m", "buildtool", "build", "--builder", builder, "--out", out, *words)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [cell.wheel, f"{cell.wheel.removesuffix('.whl')}.json"]
    )
    return out / cell.wheel


def cubins(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".ar")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


def commit(wheel: Path) -> str | None:
    """What the bill of materials says of the source."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".cdx.json")]
        properties = json.loads(archive.read(name))["metadata"]["component"]["properties"]
    return next((row["value"] for row in properties if row["name"] == "buildtool:commit"), None)


def proven(wheel: Path) -> None:
    report = json.loads(wheel.with_suffix(".json").read_bytes())
    assert (report["ok"], report["level"]) == (True, "import")
    assert report["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.parametrize("package", ["sageattention", "sageattn3"])
def test_cibuildwheel_makes_the_wheel_that_the_native_builder_makes(
    root: Path, matrix: Matrix, engine: str, tmp_path: Path, package: str
) -> None:
    assert engine
    cell = cell_of(matrix, package, PLATFORM)
    contained = build(root, "auto", cell, tmp_path / "contained")
    proven(contained)
    native = build(root, "native", cell_of(matrix, package, "linux_x86_64"), tmp_path / "native")
    assert cubins(contained) == cubins(native) != {}
    assert commit(contained) == commit(native)
    assert {name.rpartition("/")[2] for name in cubins(contained)} == {f"{arch}.ar" for arch in cell.archs}


def test_the_tag_is_that_of_the_matrix(root: Path, matrix: Matrix, engine: str, tmp_path: Path) -> None:
    assert engine
    proven(build(root, "cibuildwheel", cell_of(matrix, "sageattn3", "linux_x86_64"), tmp_path / "out"))


def test_the_dockerfile_makes_the_same_cubins_without_our_cache(
    root: Path, matrix: Matrix, engine: str, image: str, tmp_path: Path
) -> None:
    cell = cell_of(matrix, "sageattn3", "linux_x86_64")
    base = str(matrix.facts.platform[PLATFORM].container)
    out = tmp_path / "dist"
    if engine == "docker":
        if subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode:
            pytest.skip("buildx is not installed")
        version = run(root, "docker", "version", "--format", "{{.Server.Version}}")
        if int(version.split(".")[0]) < _CONTEXTS:
            pytest.skip(f"docker {version.strip()} has no build contexts")
        name = cell_name(cell)
        replaced = [
            "--set",
            f"*.contexts.{base}=docker-image://{image}",
            "--set",
            f"{name}.output=type=local,dest={out}",
        ]
        run(root, "docker", "buildx", "bake", *replaced, name, f"test-{name}")
    else:
        axes = ("package", "torch", "cuda", "python", "platform")
        arguments = [word for axis in axes for word in ("--build-arg", f"{axis.upper()}={getattr(cell.combo, axis)}")]
        replaced = ["--build-context", f"{base}=container-image://{image}"]
        common = ["podman", "build", "--layers", "--file", "docker/Dockerfile", *replaced, *arguments]
        run(root, *common, "--target", "test", ".")
        run(root, *common, "--target", "export", "--output", f"type=local,dest={out}", ".")
    proven(out / cell.wheel)
    native = build(root, "native", cell, tmp_path / "native")
    assert cubins(out / cell.wheel) == cubins(native) != {}
