from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.errors import ConfigError
from buildtool.plan.cells import Cell, Combo
from buildtool.plan.matrix import Matrix
from buildtool.plan.pins import rewrite_pins
from buildtool.plan.planner import make_cell

TEXT = """\
# a comment at the top
[build-system]
requires = ["hatchling>=1", 'torch == 2.7.0',  # exact
    "nvidia-cuda-nvrtc-cu12==12.6.85",
  "nvidia-cuda-runtime-cu12==12.6.77", # keep me
    "nvidia-cuda-nvcc-cu12==12.6.85"]

[project]
name    = "x"
version = "0.0.1"   # the version
dependencies = [ "numpy", "torch>=2.7; python_version >= '3.9'" ]
"""


@pytest.fixture
def cell(matrix: Matrix) -> Cell:
    return make_cell(matrix, Combo("sageattention", "2.11.0", "13.0", "3.12", "linux_x86_64"))


def test_exactly_the_pins_change(cell: Cell) -> None:
    assert rewrite_pins(TEXT, cell) == TEXT.replace("'torch == 2.7.0'", '"torch==2.11.0"').replace(
        "nvidia-cuda-nvrtc-cu12==12.6.85", "nvidia-cuda-nvrtc==13.0.88"
    ).replace("nvidia-cuda-runtime-cu12==12.6.77", "nvidia-cuda-runtime==13.0.96").replace(
        "nvidia-cuda-nvcc-cu12==12.6.85", "nvidia-cuda-crt==13.0.88"
    ).replace("0.0.1", "2.2.0").replace(
        "torch>=2.7; python_version >= '3.9'", 'torch==2.11.*; python_version >= \\"3.9\\"'
    )


def test_twice_changes_nothing(cell: Cell) -> None:
    once = rewrite_pins(TEXT, cell)
    assert rewrite_pins(once, cell) == once


@settings(max_examples=20)
@given(st.data())
def test_there_and_back_again(matrix: Matrix, root: Path, data: st.DataObject) -> None:
    text = (root / "pyproject.toml").read_text("utf-8")
    one = make_cell(matrix, data.draw(st.sampled_from(matrix.combos)))
    other = make_cell(matrix, data.draw(st.sampled_from(matrix.combos)))
    first = rewrite_pins(text, one)
    assert rewrite_pins(rewrite_pins(first, other), one) == first
    document = tomllib.loads(first)
    assert set(one.pins.all()) <= set(document["build-system"]["requires"])
    assert one.torch_requirement in document["project"]["dependencies"]


def test_every_missing_and_ambiguous_pin_is_named(cell: Cell) -> None:
    text = TEXT.replace('"nvidia-cuda-nvrtc-cu12==12.6.85",', '"torch-geometric",').replace(
        '"numpy"', '"torch", "numpy"'
    )
    with pytest.raises(ConfigError) as caught:
        rewrite_pins(text, cell, "a/pyproject.toml")
    messages = [(fault.file, fault.key, fault.message, fault.value) for fault in caught.value.faults]
    assert messages == [
        ("a/pyproject.toml", "build-system.requires", "the nvrtc pin must be there exactly once", "none"),
        (
            "a/pyproject.toml",
            "project.dependencies",
            "the torch pin must be there exactly once",
            "torch, torch>=2.7; python_version >= '3.9'",
        ),
    ]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ["build-system.requires", "project.dependencies", "project.version"]),
        ("[project]\nversion = 1\n[build-system]\nrequires = 'x'\n", None),
        ("[project", [""]),
    ],
)
def test_a_pyproject_without_the_places(cell: Cell, text: str, keys: list[str] | None) -> None:
    with pytest.raises(ConfigError) as caught:
        rewrite_pins(text, cell)
    expected = keys if keys is not None else ["build-system.requires", "project.dependencies", "project.version"]
    assert [fault.key for fault in caught.value.faults] == expected
