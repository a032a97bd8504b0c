from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import UsageError
from buildtool.plan.cells import Cell, Combo
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import cell_of_wheel, make_cell, make_plan


def cell(matrix: Matrix, torch: str, cuda: str, platform: str = "linux_x86_64", python: str = "3.12") -> Cell:
    return make_cell(matrix, Combo("sageattention", torch, cuda, python, platform))


def test_every_fact_of_the_headline_cell(matrix: Matrix) -> None:
    got = cell(matrix, "2.8.0", "12.8")
    assert set(got.archs) - {"sm_100"} == {"sm_80", "sm_86", "sm_89", "sm_90a", "sm_120a"}
    assert got.pins.all() == (
        "torch==2.8.0",
        "nvidia-cuda-nvrtc-cu12==12.8.93",
        "nvidia-cuda-runtime-cu12==12.8.90",
        "nvidia-cuda-nvcc-cu12==12.8.93",
    )
    assert (got.torch_requirement, got.torch_index, got.build_tag) == ("torch==2.8.*", "pypi", "280.128")
    assert (got.cxx_standard, got.cxx11_abi, got.min_driver, got.experimental) == (17, True, "525.60.13", False)


@pytest.mark.parametrize(
    ("torch", "cuda", "platform", "index"),
    [
        ("2.8.0", "12.9", "linux_x86_64", "cu129"),
        ("2.8.0", "12.8", "win_amd64", "cu128"),
        ("2.7.0", "12.6", "linux_x86_64", "pypi"),
        ("2.7.0", "12.8", "linux_x86_64", "cu128"),
        ("2.11.0", "13.0", "linux_aarch64", "pypi"),
    ],
)
def test_where_torch_comes_from(matrix: Matrix, torch: str, cuda: str, platform: str, index: str) -> None:
    assert cell(matrix, torch, cuda, platform).torch_index == index


def test_the_abi_belongs_to_the_build_not_to_the_release(matrix: Matrix) -> None:
    assert not cell(matrix, "2.6.0", "12.4").cxx11_abi
    assert cell(matrix, "2.6.0", "12.6").cxx11_abi
    assert cell(matrix, "2.6.0", "12.4", "win_amd64").cxx11_abi


def test_cxx_standard_follows_torch(matrix: Matrix) -> None:
    standards = {combo.torch: make_cell(matrix, combo).cxx_standard for combo in matrix.sets["all"]}
    assert {torch for torch, standard in standards.items() if standard == 20} == {"2.13.0", "2.14.0"}


def test_old_cuda_does_not_get_new_archs(matrix: Matrix) -> None:
    assert "sm_89" not in cell(matrix, "2.5.1", "12.1").archs
    assert cell(matrix, "2.11.0", "13.0", "linux_aarch64").archs[-2:] == ("sm_110f", "sm_120f")


def test_driver_follows_the_operating_system(matrix: Matrix) -> None:
    assert cell(matrix, "2.9.0", "12.8", "win_amd64").min_driver == "528.33"


@given(st.data())
def test_a_file_name_leads_back_to_its_cell(matrix: Matrix, data: st.DataObject) -> None:
    made = make_cell(matrix, data.draw(st.sampled_from(matrix.combos)))
    assert cell_of_wheel(matrix, made.wheel) == made


@pytest.mark.parametrize(
    "name",
    [
        "sageattention-2.2.0-281.128-cp312-cp312-linux_x86_64.whl",
        "sageattention-2.2.1-280.128-cp312-cp312-linux_x86_64.whl",
        "sageattention-2.2.0-280.128-cp314-cp314-linux_x86_64.whl",
        "other-2.2.0-280.128-cp312-cp312-linux_x86_64.whl",
        "nonsense",
    ],
)
def test_a_foreign_file_name_is_refused(matrix: Matrix, name: str) -> None:
    with pytest.raises(UsageError, match="is no wheel of this matrix"):
        cell_of_wheel(matrix, name)


def test_pypi_stands_in_for_every_build_but_torch_2_6_of_cuda_12_6(matrix: Matrix) -> None:
    cells = make_plan(matrix, matrix.sets["all"]).cells
    assert {(c.combo.torch, c.combo.cuda) for c in cells if not c.pypi_twin} == {("2.6.0", "12.6")}
