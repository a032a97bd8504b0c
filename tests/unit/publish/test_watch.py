from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.publish.watch import PYPI, Build, build_of, channel_of, cuda_of_channel, cuda_of_metadata, gaps

ROOT = Path(__file__).parents[3]
RECORDED = json.loads((Path(__file__).parent / "pypi-torch.json").read_text())


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return load_matrix(ROOT / "matrix.toml")


def declared(matrix: Matrix) -> list[Build]:
    """What would be served if exactly the matrix's builds were."""
    return [
        Build(release, cuda, python, "linux_x86_64", channel_of(cuda))
        for facts in matrix.facts.torch.values()
        for release in facts.releases
        for cuda in (*facts.cuda, *facts.experimental_cuda)
        for python in facts.pythons
    ]


@pytest.mark.parametrize("cuda", ["12.4", "12.8", "13.0"])
def test_channels_round_trip(cuda: str) -> None:
    assert cuda_of_channel(channel_of(cuda)) == cuda


@pytest.mark.parametrize("channel", ["cpu", "rocm6.4", "xpu", ""])
def test_channels_without_cuda(channel: str) -> None:
    assert cuda_of_channel(channel) == ""


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (
            "torch-2.8.0+cu128-cp312-cp312-manylinux_2_28_x86_64.whl",
            Build("2.8.0", "12.8", "3.12", "linux_x86_64", "cu128"),
        ),
        ("torch-2.8.0+cu129-cp313-cp313t-win_amd64.whl", Build("2.8.0", "12.9", "3.13t", "win_amd64", "cu128")),
        (
            "torch-2.5.1-cp39-cp39-manylinux2014_aarch64.whl",
            Build("2.5.1", "", "3.9", "linux_aarch64", "cu128"),
        ),
        ("torch-2.8.0+cpu-cp312-cp312-linux_x86_64.whl", None),
        ("torch-2.9.0.dev20250801+cu128-cp312-cp312-linux_x86_64.whl", None),
        ("torch-2.8.0-cp312-none-macosx_11_0_arm64.whl", None),
        ("torch-2.8.0.tar.gz", None),
        ("torchvision-0.23.0-cp312-cp312-manylinux_2_28_x86_64.whl", None),
        ("torch-2.8.0.whl", None),
    ],
)
def test_file_names(filename: str, expected: Build | None) -> None:
    assert build_of(filename, "cu128") == expected


METADATA = """\
Metadata-Version: 2.1
Name: torch
Version: 2.8.0
Requires-Dist: filelock
Requires-Dist: {0}

CUDA 11.8 is mentioned here: nvidia-cuda-runtime-cu12==99.9
"""
ON_X86 = 'nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"'


@pytest.mark.parametrize(
    ("requirement", "system", "cuda"),
    [
        (ON_X86, "linux_x86_64", "12.8"),
        (ON_X86, "linux_aarch64", ""),
        ('cuda-toolkit[cublas,cudart]==13.0.2; platform_system == "Linux"', "linux_aarch64", "13.0"),
        ("nvidia-cuda-runtime==13.2.75", "linux_x86_64", "13.2"),
        ("sympy>=1.13", "linux_x86_64", ""),
    ],
)
def test_cuda_of_metadata(requirement: str, system: str, cuda: str) -> None:
    assert cuda_of_metadata(METADATA.format(requirement), system) == cuda


def test_a_complete_matrix_has_no_gaps(matrix: Matrix) -> None:
    assert gaps(matrix, declared(matrix)) == ()


@pytest.mark.parametrize(
    ("build", "key", "row"),
    [
        (Build("2.8.1", "12.8", "3.12", "linux_x86_64", "cu128"), 'torch."2.8".releases', '["2.8.0", "2.8.1"]'),
        (Build("2.8.0", "13.0", "3.12", "linux_x86_64", "cu130"), 'torch."2.8".experimental_cuda', '["12.9", "13.0"]'),
        (Build("2.8.0", "12.8", "3.14", "linux_x86_64", "cu128"), 'torch."2.8".pythons', '"3.13", "3.14"]'),
    ],
)
def test_what_is_new_is_reported_as_rows(matrix: Matrix, build: Build, key: str, row: str) -> None:
    (gap,) = gaps(matrix, [*declared(matrix), build])
    assert gap.key == key
    assert row in gap.rows
    tomllib.loads(gap.rows)


def test_a_new_minor_is_a_whole_table(matrix: Matrix) -> None:
    new = [Build("3.1.0", "13.2", python, "linux_x86_64", PYPI) for python in ("3.13", "3.12")]
    (gap,) = gaps(matrix, new)
    table = tomllib.loads(gap.rows)["torch"]["3.1"]
    assert table["releases"] == ["3.1.0"]
    assert table["pythons"] == ["3.12", "3.13"]
    assert (table["cuda"], table["pypi_cuda"]) == (["13.2"], "13.2")


def test_an_unknown_cuda_is_its_own_gap(matrix: Matrix) -> None:
    found = gaps(matrix, [Build("3.1.0", "14.0", "3.13", "linux_x86_64", "cu140")])
    assert [gap.key for gap in found] == ['cuda."14.0"', 'torch."3.1"']


def test_what_is_out_of_scope_is_silent(matrix: Matrix) -> None:
    old = Build("2.4.0", "12.4", "3.12", "linux_x86_64", "cu124")
    cuda11 = Build("2.8.0", "11.8", "3.12", "linux_x86_64", "cu118")
    threads = Build("2.8.0", "12.8", "3.13t", "linux_x86_64", "cu128")
    assert gaps(matrix, [old, cuda11, threads]) == ()


def test_pypi_as_recorded(matrix: Matrix) -> None:
    builds = [Build(torch, cuda, python, system, PYPI) for torch, cuda, python, system in RECORDED["builds"]]
    served = {(build.torch, build.cuda) for build in builds if build.cuda and build.system == "linux_x86_64"}
    for minor, facts in matrix.facts.torch.items():
        cudas = {cuda for release, cuda in served if release in facts.releases}
        assert cudas <= {facts.pypi_cuda}, minor
    assert gaps(matrix, builds) == ()
