from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from buildtool import backend
from buildtool.backend_build import pinned_cell, project_of
from buildtool.errors import ConfigError, UsageError
from buildtool.plan.matrix import Matrix, load_matrix


@pytest.fixture(scope="module")
def matrix(root: Path) -> Matrix:
    return load_matrix(root / "matrix.toml")


def test_the_committed_pins_are_those_of_a_cell(matrix: Matrix, root: Path) -> None:
    for folder, name in ((root, "sageattention"), (root / "sageattention3_blackwell", "sageattn3")):
        cell = pinned_cell(matrix, (folder / "pyproject.toml").read_text("utf-8"), "3.12", "linux_x86_64")
        assert (cell.combo.package, cell.combo.torch, cell.combo.cuda) == (name, "2.8.0", "12.8")
        assert project_of(folder) == root


def test_a_python_or_pins_without_a_cell_are_named(matrix: Matrix, root: Path) -> None:
    text = (root / "pyproject.toml").read_text("utf-8")
    with pytest.raises(UsageError, match=r"torch==2\.8\.0 with Python 3\.8 on linux_x86_64"):
        pinned_cell(matrix, text, "3.8", "linux_x86_64")
    with pytest.raises(ConfigError, match="no exact pins"):
        pinned_cell(matrix, '[project]\nname = "sageattention"\n', "3.12", "linux_x86_64")


@pytest.mark.parametrize("settings", [{"platfrom": "x"}, {"build-tag": "cu128"}])
def test_a_wrong_config_setting_is_a_short_message(
    settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        backend.build_wheel(str(tmp_path), settings)
    assert caught.value.code == UsageError.exit_code
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("tracker", [True, False])
def test_metadata_is_written_without_a_build_also_under_pip(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tracker: bool
) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "sageattention").mkdir()
    (tmp_path / "sageattention" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    if tracker:
        monkeypatch.setenv("PIP_BUILD_TRACKER", str(tmp_path))
    folder = backend.prepare_metadata_for_build_wheel(str(tmp_path))
    text = (tmp_path / folder / "METADATA").read_text("utf-8")
    assert folder == "sageattention-2.2.0.dist-info"
    assert "Requires-Dist: torch==2.8.*" in text
    assert text.startswith("Metadata-Version: 2.4\n")
