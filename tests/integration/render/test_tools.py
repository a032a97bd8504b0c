"""The linters of each format, on what is committed. A tool that is not installed is a skip with its name."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from buildtool.plan.matrix import load_matrix
from buildtool.render.docker import bake_cells
from buildtool.render.naming import cell_name

pytestmark = pytest.mark.integration


def tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def run(root: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def workflows(root: Path) -> list[str]:
    return [str(path) for path in sorted((root / ".github/workflows").glob("*.yml"))]


def test_zizmor_finds_nothing(root: Path) -> None:
    run(root, tool("zizmor"), "--offline", "--persona=pedantic", "--no-progress", *workflows(root))


def test_workflows_fit_their_schema(root: Path) -> None:
    checker = tool("check-jsonschema")
    run(root, checker, "--builtin-schema", "vendor.github-workflows", *workflows(root))


def test_matrix_fits_its_schema(root: Path) -> None:
    run(root, tool("check-jsonschema"), "--schemafile", "docs/matrix.schema.json", "matrix.toml")


def test_hadolint_finds_nothing(root: Path) -> None:
    run(root, tool("hadolint"), "docker/Dockerfile")


def test_cibuildwheel_accepts_its_configuration(root: Path) -> None:
    resources = pytest.importorskip("cibuildwheel", reason="cibuildwheel is not installed")
    schema = Path(resources.__file__).parent / "resources/cibuildwheel.schema.json"
    golden = (root / "tests/golden/cibuildwheel-280.128.toml").read_text("utf-8")
    jsonschema.validate(tomllib.loads(golden)["tool"]["cibuildwheel"], json.loads(schema.read_text("utf-8")))


def bake(root: Path, *targets: str) -> dict[str, Any]:
    binary = shutil.which("docker-buildx")
    command = [binary] if binary else [tool("docker"), "buildx"]
    if not binary and subprocess.run([*command, "version"], capture_output=True, check=False).returncode:
        pytest.skip("buildx is not installed")
    shown: dict[str, Any] = json.loads(run(root, *command, "bake", "--file", "docker-bake.hcl", "--print", *targets))
    return shown


def test_bake_resolves_to_the_plan(root: Path) -> None:
    cells = {cell_name(cell): cell for cell in bake_cells(load_matrix(root / "matrix.toml"))}
    targets = bake(root, "cell", "test-cell")["target"]
    assert set(targets) == {f"{prefix}{name}" for prefix in ("", "test-") for name in cells}
    for name, cell in cells.items():
        combo = cell.combo
        values = (combo.package, combo.torch, combo.cuda, combo.python, combo.platform)
        arguments = dict(zip(("PACKAGE", "TORCH", "CUDA", "PYTHON", "PLATFORM"), values, strict=True))
        assert targets[name]["args"] == targets[f"test-{name}"]["args"] == arguments
        assert (targets[name]["target"], targets[f"test-{name}"]["target"]) == ("export", "test")


def test_bake_without_a_name_is_the_container_set(root: Path) -> None:
    matrix = load_matrix(root / "matrix.toml")
    container = matrix.sets["container"]
    assert {(combo.torch, combo.cuda, combo.platform) for combo in container} == {("2.8.0", "12.9", "linux_x86_64")}
    names = {cell_name(cell) for cell in bake_cells(matrix) if cell.combo in container}
    assert set(bake(root)["target"]) == names


def test_bake_linux_is_the_release(root: Path) -> None:
    matrix = load_matrix(root / "matrix.toml")
    release = {combo for combo in matrix.sets["release"] if combo.platform == "linux_x86_64"}
    names = {cell_name(cell) for cell in bake_cells(matrix) if cell.combo in release}
    assert set(bake(root, "linux")["target"]) == names
    assert set(bake(root, "test-linux")["target"]) == {f"test-{name}" for name in names}


def test_bake_groups_are_sets_torches_and_cudas(root: Path) -> None:
    matrix = load_matrix(root / "matrix.toml")
    cells = bake_cells(matrix)
    expected: dict[str, set[str]] = {}
    for cell in cells:
        torch, cuda = ".".join(cell.combo.torch.split(".")[:2]), cell.combo.cuda
        groups = [f"torch-{torch}", f"cuda-{cuda}", *(f"set-{name}" for name in matrix.sets if name != "default")]
        for group in groups:
            if not group.startswith("set-") or cell.combo in matrix.sets[group.removeprefix("set-")]:
                expected.setdefault(group.replace(".", "_"), set()).add(cell_name(cell))
    groups = bake(root, *expected)["group"]
    assert {name: set(groups[name]["targets"]) for name in expected} == expected


def test_cache_scopes_do_not_collide(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHE", "gha")
    targets = bake(root, "cell", "test-cell")["target"]
    scopes = [str(target["cache-to"]) for target in targets.values()]
    assert len(set(scopes)) == len(targets)
