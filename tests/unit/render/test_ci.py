from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.cli import main
from buildtool.plan.cells import BuildPlan
from buildtool.plan.matrix import Matrix, load_matrix, parse_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.render import ci
from buildtool.render.naming import cell_name, selection_of


@pytest.fixture(scope="session")
def everything(matrix: Matrix) -> BuildPlan:
    return make_plan(matrix, matrix.sets["all"])


@pytest.fixture(scope="session")
def two_packages(root: Path) -> Matrix:
    """The matrix with sets that are open to both packages."""
    return load_matrix(root / "matrix.toml")


def test_cubins_are_compiled_once_per_cuda_and_arch(everything: BuildPlan) -> None:
    rows = ci.cubin_rows(everything.cells)
    pairs = Counter((row["cuda"], row["arch"]) for row in rows)
    assert set(pairs.values()) == {1}
    assert set(pairs) == {(cell.combo.cuda, arch) for cell in everything.cells for arch in cell.archs}


def test_a_cubin_row_selects_every_package_that_shares_the_arch(two_packages: Matrix) -> None:
    plan = make_plan(two_packages, two_packages.sets["release"])
    by_arch = {row["arch"]: row for row in ci.cubin_rows(plan.cells)}
    for arch, packages in (("sm_120a", {"sageattention", "sageattn3"}), ("sm_80", {"sageattention"})):
        chosen = select(two_packages, by_arch[arch]["selection"].split())
        assert {combo.package for combo in chosen} == packages


def test_a_cell_row_selects_its_cell(matrix: Matrix, everything: BuildPlan) -> None:
    for row, cell in zip(ci.cell_rows(matrix, everything.cells), everything.cells, strict=True):
        assert select(matrix, row["selection"].split()) == (cell.combo,)


def test_names_are_unique_and_plain(matrix: Matrix) -> None:
    names = [cell_name(cell) for cell in make_plan(matrix, matrix.combos).cells]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in names)


@given(st.integers(1, 300))
def test_shards_keep_every_cell_and_the_limit(everything: BuildPlan, limit: int) -> None:
    parts = ci.shards(everything.cells, limit)
    assert Counter(map(cell_name, everything.cells)) == Counter(cell_name(cell) for part in parts for cell in part)
    assert all(0 < len(part) <= limit for part in parts)


def test_shards_do_not_tear_a_cuda_version_apart_without_need(everything: BuildPlan) -> None:
    parts = ci.shards(everything.cells)
    assert len(parts) == 2
    cudas = [{cell.combo.cuda for cell in part} for part in parts]
    assert not cudas[0] & cudas[1]


def test_documents_change_no_cell_but_one_of_each_package_is_built(two_packages: Matrix) -> None:
    plan = make_plan(two_packages, two_packages.sets["release"])
    kept = ci.slim(two_packages, plan, ["README.md", "docs/architecture.md", "tests/unit/test_cli.py"])
    assert [cell.combo.package for cell in kept.cells] == ["sageattention", "sageattn3"]


@pytest.mark.parametrize(
    ("path", "packages"),
    [
        ("sageattention/core.py", {"sageattention"}),
        ("pyproject.toml", {"sageattention"}),
        ("sageattention3_blackwell/sageattn3/api.py", {"sageattn3"}),
        ("kernels/sage2/attention.cu", {"sageattention", "sageattn3"}),
        ("buildtool/make/binding.py", {"sageattention", "sageattn3"}),
    ],
)
def test_a_change_touches_all_cells_of_what_it_goes_into(two_packages: Matrix, path: str, packages: set[str]) -> None:
    plan = make_plan(two_packages, two_packages.sets["release"])
    kept = Counter(cell.combo.package for cell in ci.slim(two_packages, plan, [path]).cells)
    assert kept == {package: 6 if package in packages else 1 for package in ("sageattention", "sageattn3")}


def test_a_change_of_the_matrix_touches_the_cells_that_differ(root: Path, matrix: Matrix) -> None:
    text = (root / "matrix.toml").read_text("utf-8").replace("nvrtc-cu12==12.9.86", "nvrtc-cu12==12.9.41")
    plan = make_plan(matrix, matrix.sets["default"])
    kept = ci.slim(matrix, plan, ["matrix.toml"], parse_matrix(text))
    assert {cell.combo.cuda for cell in kept.cells} == {"12.9"}
    assert ci.slim(matrix, plan, ["matrix.toml"]) == plan


def test_outputs_for_github(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    command = ["--project", str(root), "ci-matrix"]
    assert main([*command, "set=manylinux", "torch=2.8", "package=sageattention", "--github", "--since", ""]) == 0
    outputs = dict(line.split("=", 1) for line in (tmp_path / "out").read_text().splitlines())
    assert outputs["native"] == ""
    [row] = json.loads(outputs["container"])["include"]
    assert row["image"].startswith("quay.io/pypa/manylinux_2_28_x86_64@sha256:")
    assert len(json.loads(outputs["cubins"])["include"]) == 6
    capsys.readouterr()
    assert main([*command, "set=release", "package=sageattention", "--limit", "4"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["shards"], len(shown["native"]["include"])) == (2, 4)
    assert main([*command, "set=release", "--shard", "2"]) == 2
    assert "there is no shard 2" in capsys.readouterr().err
    monkeypatch.delenv("GITHUB_OUTPUT")
    assert main([*command, "--github"]) == 2


def test_selection_words(everything: BuildPlan) -> None:
    words = selection_of(everything.cells[0].combo).split()
    assert [word.split("=")[0] for word in words] == ["package", "torch", "cuda", "python", "platform"]
