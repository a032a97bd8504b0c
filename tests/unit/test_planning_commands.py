from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from buildtool.cli import main


@pytest.fixture
def project(tmp_path: Path, root: Path) -> Path:
    """A copy of the files that the planning commands read and write."""
    for name in ("matrix.toml", "pyproject.toml", "sageattention3_blackwell/pyproject.toml", "docs/matrix.schema.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    return tmp_path


def run(project: Path, *argv: str) -> int:
    return main(["--project", str(project), *argv])


def test_plan_json_has_every_fact(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "plan", "--json", "package=sageattention", "torch=2.8", "cuda=12.8") == 0
    [cell] = json.loads(capsys.readouterr().out)["cells"]
    assert cell["wheel"] == "sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl"
    assert set(cell) >= {"package", "torch", "cuda", "python", "platform", "build_tag", "wheel", "archs", "pins"}


def test_plan_prints_one_line_a_cell(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "plan", "set=all") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 266


def test_faults_have_their_exit_code_and_no_traceback(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "matrix.toml"
    path.write_text(path.read_text().replace('cuda = "12.9"', 'cuda = "13.9"').replace("cxx_standard", "cpp_standard"))
    assert run(project, "plan") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("unknown key") == path.read_text().count("cpp_standard")
    assert "Traceback" not in err


def test_unknown_words_have_their_exit_code(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "plan", "torch=2.88") == 2
    assert "did you mean 2.8?" in capsys.readouterr().err


def test_outside_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "plan") == 2
    assert "no matrix.toml" in capsys.readouterr().err


def test_the_project_is_found_from_below(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "docs")
    assert main(["plan", "set=h200"]) == 0
    assert "2110.130" in capsys.readouterr().out


def test_pins_check_write_check(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pyproject = project / "pyproject.toml"
    before = pyproject.read_text()
    assert run(project, "pins", "--check", "torch=2.8", "cuda=12.8") == 0
    assert run(project, "pins", "--check", "torch=2.11") == 7
    assert '+dependencies = ["torch==2.11.*"]' in capsys.readouterr().err
    assert pyproject.read_text() == before
    assert run(project, "pins", "torch=2.11") == 0
    assert run(project, "pins", "--check", "torch=2.11") == 0
    assert run(project, "pins", "torch=2.8", "cuda=12.8") == 0
    assert pyproject.read_text() == before


def test_pins_are_those_of_one_build(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project, "pins", "torch=2.8") == 2
    assert "torch=2.8.0 cuda=12.8; torch=2.8.0 cuda=12.9" in capsys.readouterr().err


def test_cubins_of_an_architecture_that_nothing_selected_has(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "cubins", "--arch", "sm_90", "torch=2.8", "cuda=12.8", "platform=linux_x86_64") == 2
    assert "did you mean sm_90a?" in capsys.readouterr().err


def test_schema_check(project: Path) -> None:
    assert run(project, "schema", "--check") == 0
    (project / "docs/matrix.schema.json").write_text("{}")
    assert run(project, "schema", "--check") == 7
    assert run(project, "schema") == 0
    assert run(project, "schema", "--check") == 0
    assert sorted(p.name for p in (project / "docs").iterdir()) == ["matrix.schema.json"]
