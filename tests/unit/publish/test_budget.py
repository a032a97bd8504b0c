"""GitHub's limits beside what plans need of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from buildtool.cli import main
from buildtool.plan.cells import Cell
from buildtool.plan.instances import Instance, parse_instances
from buildtool.plan.matrix import load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.publish.budget import Need, budget

ROOT = Path(__file__).parents[3]


def cells(*words: str) -> Sequence[Cell]:
    matrix = load_matrix(ROOT / "matrix.toml")
    return make_plan(matrix, select(matrix, words)).cells


def instances() -> tuple[Instance, ...]:
    return parse_instances((ROOT / "kernels/instances.toml").read_text("utf-8"))


def needs(
    plan: Sequence[Cell], costs: Mapping[str, float] | None = None, sizes: Mapping[str, int] | None = None
) -> dict[str, Need]:
    return {need.what: need for need in budget(plan, instances(), costs or {}, sizes or {})}


@pytest.mark.parametrize("package", ["sageattention", "sageattn3"])
def test_the_whole_matrix_fits_with_a_release_for_each_package(package: str) -> None:
    found = needs(cells("set=all,fp4-all,aarch64,manylinux", f"package={package}"))
    assert all(need.fits for need in found.values())
    assert found["jobs of one matrix"].needed <= 256


@pytest.mark.parametrize(
    ("what", "costs", "size", "times"),
    [
        ("longest job", 3600.0, 0, 1),
        ("largest asset", 1.0, 2 * 1024**3, 1),
        ("disk of one job", 1.0, 10**10, 1),
        ("assets of a release", 1.0, 0, 501),
    ],
)
def test_each_limit_is_noticed(what: str, costs: float, size: int, times: int) -> None:
    plan = list(cells("package=sageattention", "torch=2.8", "cuda=12.8")) * times
    found = needs(plan, {i.name: costs for i in instances()}, {plan[0].wheel: size})
    assert what in {need.what for need in found.values() if not need.fits}


def test_the_command_compares_the_wheels_that_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    selection = ("package=sageattention", "torch=2.8", "cuda=12.8")
    argv = ["--project", str(ROOT), "plan", "--budget", "--json", "--out", str(tmp_path), *selection]
    assert main(argv) == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)}
    assert all(row["fits"] for row in rows.values())
    with (tmp_path / cells(*selection)[0].wheel).open("wb") as file:
        file.truncate(3 * 1024**3)
    assert main(argv) == 8
    out, err = capsys.readouterr()
    assert [row["what"] for row in json.loads(out) if not row["fits"]] == ["largest asset"]
    assert "fix: ship fewer architectures" in err
