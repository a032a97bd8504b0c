from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from buildtool.errors import ConfigError, UsageError
from buildtool.plan.matrix import parse_matrix
from buildtool.render.additions import add_torch


@pytest.fixture
def text(root: Path) -> str:
    return (root / "matrix.toml").read_text("utf-8")


def changes(before: str, after: str) -> list[str]:
    """The lines that differ, as a diff shows them."""
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in diff if not line.startswith(("---", "+++", "@@"))]


def test_a_new_minor_follows_the_newest_and_takes_over_its_facts(text: str) -> None:
    after = add_torch(text, "2.16.0", cuda=("13.0", "13.2"), pypi_cuda="13.2")
    assert [line for line in changes(text, after) if line != "+"] == [
        '+[torch."2.16"]',
        '+releases = ["2.16.0"]',
        '+pythons = ["3.11", "3.12", "3.13", "3.14", "3.15"]',
        '+cuda = ["13.0", "13.2"]',
        '+pypi_cuda = "13.2"',
        "+cxx_standard = 20",
    ]
    assert after.index('[torch."2.15"]') < after.index('[torch."2.16"]') < after.index("[set.default]")
    assert parse_matrix(after).facts.torch["2.16"].pypi_cuda == "13.2"


def test_a_patch_joins_its_minor(text: str) -> None:
    after = add_torch(text, "2.8.1")
    assert changes(text, after) == ['-releases = ["2.8.0"]', '+releases = ["2.8.0", "2.8.1"]']


@pytest.mark.parametrize(
    ("release", "options", "message"),
    [
        ("2.8.0", {}, "declared already"),
        ("2.8.1", {"cuda": ("12.8",)}, "has its facts already"),
        ("2.16", {}, "is no release of PyTorch"),
    ],
)
def test_what_cannot_be_added(text: str, release: str, options: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        add_torch(text, release, **options)  # type: ignore[arg-type]


def test_a_cuda_without_facts(text: str) -> None:
    with pytest.raises(ConfigError, match=r"no CUDA 13\.4 is declared"):
        add_torch(text, "2.16.0", cuda=("13.4",))


def test_facts_that_contradict_each_other(text: str) -> None:
    with pytest.raises(ConfigError, match=r"PyTorch 2\.16 has no build for it"):
        add_torch(text, "2.16.0", cuda=("13.0",), pypi_cuda="12.6")
