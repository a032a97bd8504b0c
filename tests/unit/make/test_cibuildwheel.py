"""Which builder a cell gets, and the configuration that cibuildwheel gets: with an engine that only answers."""

from __future__ import annotations

import os
import platform
import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from buildtool.errors import ToolchainError
from buildtool.make import cibuildwheel
from buildtool.make.runner import Processes, Result
from buildtool.make.store import Store
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import BuildPlan
from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select

WORDS = ["package=sageattention", "torch=2.8", "cuda=12.8", "python=3.12"]
IMAGE = "localhost/base:1"


class Engine(Processes):
    """A container engine that has ``images``, or does not answer."""

    def __init__(self, *images: str, answers: bool = True) -> None:
        super().__init__()
        self.images, self.answers = images, answers

    def run(self, argv: Sequence[str | os.PathLike[str]], **_: Any) -> Result:
        words = tuple(str(word) for word in argv)
        good = self.answers and ("info" in words or words[-1] in self.images)
        return Result(words, 0 if good else 125, "", "", 0.0, 0.0)


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.toml")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda name, **_: f"/bin/{name}")


def plan_of(matrix: Matrix, *words: str) -> BuildPlan:
    return make_plan(matrix, select(matrix, [*WORDS, *words]))


def workshop(folder: Path, runner: Processes, said: Callable[[str], None] = print, **environ: str) -> Workshop:
    return Workshop(folder, {}, Store(folder), runner, lambda *_: {}, jobs=1, say=said, environ=environ)


MANYLINUX, LINUX, ARM = "manylinux_2_28_x86_64", "linux_x86_64", "linux_aarch64"


def test_auto_takes_the_container_for_cells_whose_image_is_there(matrix: Matrix, tmp_path: Path) -> None:
    plan = plan_of(matrix, f"platform={LINUX},{MANYLINUX}")
    image = matrix.facts.platform[MANYLINUX].container or ""
    contained, bare = cibuildwheel.divide(plan, "auto", matrix, workshop(tmp_path, Engine(image)))
    assert [cell.combo.platform for cell in contained.cells] == [MANYLINUX]
    assert [cell.combo.platform for cell in bare.cells] == [LINUX]


def test_an_image_of_ones_own_is_for_every_cell_of_this_machine(matrix: Matrix, tmp_path: Path) -> None:
    plan = plan_of(matrix, f"platform={LINUX},{MANYLINUX},win_amd64")
    shop = workshop(tmp_path, Engine(IMAGE), BUILDTOOL_IMAGE=IMAGE)
    contained, bare = cibuildwheel.divide(plan, "auto", matrix, shop)
    assert {cell.combo.platform for cell in contained.cells} == {LINUX, MANYLINUX}
    assert [cell.combo.platform for cell in bare.cells] == ["win_amd64"]


@pytest.mark.parametrize(
    ("engine", "why"), [(Engine(), "pull localhost/base:1"), (Engine(answers=False), "no container engine answers")]
)
def test_without_engine_or_image_auto_builds_here_and_says_why(
    matrix: Matrix, tmp_path: Path, engine: Engine, why: str
) -> None:
    said: list[str] = []
    plan = plan_of(matrix, f"platform={MANYLINUX}")
    shop = workshop(tmp_path, engine, said.append, BUILDTOOL_IMAGE=IMAGE)
    assert cibuildwheel.divide(plan, "auto", matrix, shop) == (BuildPlan(()), plan)
    assert len(said) == 1
    assert why in said[0]


def test_a_builder_that_is_named_is_taken(matrix: Matrix, tmp_path: Path) -> None:
    plan, shop = plan_of(matrix, f"platform={LINUX}"), workshop(tmp_path, Engine(answers=False))
    assert cibuildwheel.divide(plan, "cibuildwheel", matrix, shop) == (plan, BuildPlan(()))
    assert cibuildwheel.divide(plan, "native", matrix, shop) == (BuildPlan(()), plan)


def test_the_engine_can_be_chosen(tmp_path: Path) -> None:
    assert cibuildwheel.find_engine(workshop(tmp_path, Engine(), BUILDTOOL_ENGINE="podman")) == "podman"
    with pytest.raises(ToolchainError, match="no container engine answers"):
        cibuildwheel.find_engine(workshop(tmp_path, Engine(answers=False)))


def test_the_repaired_wheel_is_judged_by_this_program(matrix: Matrix, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    shop = workshop(tmp_path, Engine(), SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    [cell] = plan_of(matrix, f"platform={MANYLINUX}").cells
    table = tomllib.loads(cibuildwheel.config_text(cell, shop, matrix, "podman"))["tool"]["cibuildwheel"]
    assert table["audit-command"].endswith(" -m buildtool verify {wheel}")
    assert table["audit-requires"] == []
    mounts = table["container-engine"]["create-args"]
    assert mounts == ["--volume", f"{tmp_path}:/buildtool-cache", "--volume", f"{tmp_path}/ca.pem:/buildtool-ca.pem:ro"]
    assert table["environment"]["PIP_CERT"] == table["environment"]["SSL_CERT_FILE"] == "/buildtool-ca.pem"
