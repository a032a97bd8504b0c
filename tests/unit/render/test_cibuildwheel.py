from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from buildtool.errors import UsageError
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_cell
from buildtool.plan.selection import select
from buildtool.render.cibuildwheel import identifier, render_config

WORDS = ["package=sageattention", "torch=2.8", "cuda=12.8", "python=3.12"]


def test_the_whole_configuration(matrix: Matrix, root: Path) -> None:
    [combo] = select(matrix, [*WORDS, "platform=manylinux_2_28_x86_64"])
    text = render_config(
        matrix,
        make_cell(matrix, combo),
        audit="python -m buildtool verify {wheel}",
        engine="podman",
        create_args=("--volume", "/cache:/cache"),
        environment={"BUILDTOOL_CACHE": "/cache"},
    )
    assert text == (root / "tests/golden/cibuildwheel-280.128.toml").read_text("utf-8")


def test_the_image_can_be_replaced(matrix: Matrix) -> None:
    [combo] = select(matrix, [*WORDS, "platform=manylinux_2_28_x86_64"])
    text = render_config(matrix, make_cell(matrix, combo), image="localhost/base:1")
    table = tomllib.loads(text)["tool"]["cibuildwheel"]
    assert table["manylinux-x86_64-image"] == "localhost/base:1"
    assert "environment" not in table


def test_only_container_platforms_have_one(matrix: Matrix) -> None:
    [combo] = select(matrix, [*WORDS, "platform=linux_x86_64"])
    with pytest.raises(UsageError, match="not built in a container") as caught:
        render_config(matrix, make_cell(matrix, combo))
    assert "platform=manylinux_2_28_x86_64" in caught.value.hint


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("manylinux_2_28_x86_64", "cp312-manylinux_x86_64"),
        ("linux_x86_64", "cp312-manylinux_x86_64"),
        ("win_amd64", "cp312-win_amd64"),
    ],
)
def test_identifiers(matrix: Matrix, platform: str, name: str) -> None:
    [combo] = select(matrix, [*WORDS, f"platform={platform}"])
    assert identifier(make_cell(matrix, combo)) == name
