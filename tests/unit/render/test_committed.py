"""Rendered files are committed; these tests are why nobody forgets to render them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from buildtool.cli import main
from buildtool.commands.rendering import read_sources
from buildtool.plan.matrix import Matrix, parse_matrix
from buildtool.render.files import DOCKERFILE_TEMPLATE, PINS, README, TEMPLATES, rendered_files


def test_committed_files_are_what_would_be_rendered(root: Path, matrix: Matrix) -> None:
    for path, text in rendered_files(matrix, read_sources(root)).items():
        assert (root / path).read_bytes().decode() == text, f"{path} is out of date: python -m buildtool render"


def test_no_workflow_is_written_by_hand(root: Path, matrix: Matrix) -> None:
    rendered = {path for path in rendered_files(matrix, read_sources(root)) if path.startswith(".github/")}
    assert {path.relative_to(root).as_posix() for path in (root / ".github/workflows").iterdir()} == rendered


@pytest.mark.parametrize(
    ("old", "new", "touched"),
    [
        (
            'cuda = "12.9", python = "3.12"',
            'cuda = "12.8", python = "3.12"',
            {"docker-bake.hcl"},
        ),
        (
            'python = "3.12", platform = ["linux_x86_64", "win_amd64"]',
            'python = "3.13", platform = ["linux_x86_64", "win_amd64"]',
            {"README.md", "docker-bake.hcl"},
        ),
        ("@sha256:e0adf185", "@sha256:00000000", {"docker/Dockerfile", ".github/workflows/build-wheels-linux.yml"}),
        (
            'runner = "windows-2022"',
            'runner = "windows-2025"',
            {".github/workflows/ci.yml"},
        ),
    ],
)
def test_one_line_of_the_matrix_updates_every_file_that_depends_on_it(
    root: Path, matrix: Matrix, old: str, new: str, touched: set[str]
) -> None:
    text = (root / "matrix.toml").read_text("utf-8")
    assert text.count(old) == 1
    sources = read_sources(root)
    before, after = rendered_files(matrix, sources), rendered_files(parse_matrix(text.replace(old, new)), sources)
    assert {path for path in before if before[path] != after[path]} == touched


def test_render_check_fails_until_rendered(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["matrix.toml", DOCKERFILE_TEMPLATE, PINS, README, "docs/matrix.schema.json", "docker-bake.hcl"]
    names += ["docker/Dockerfile", *(f".github/workflows/{p.name}" for p in (root / ".github/workflows").iterdir())]
    names += [f"{TEMPLATES}/{path.name}" for path in (root / TEMPLATES).glob("*.in")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    project = ["--project", str(tmp_path)]
    assert main([*project, "render", "--check"]) == 0
    path = tmp_path / "matrix.toml"
    path.write_text(path.read_text("utf-8").replace("@sha256:e0adf185", "@sha256:00000000"), "utf-8")
    assert main([*project, "render", "--check"]) == 7
    assert "docker/Dockerfile, .github/workflows/build-wheels-linux.yml" in capsys.readouterr().err
    assert main([*project, "render"]) == 0
    assert main([*project, "render", "--check"]) == 0


def test_every_step_calls_nox_only(root: Path) -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", (root / "noxfile.py").read_text("utf-8"), re.MULTILINE))
    for path in (root / ".github/workflows").iterdir():
        jobs = yaml.safe_load(path.read_text("utf-8"))["jobs"]
        commands = [step["run"] for job in jobs.values() for step in job.get("steps", []) if "run" in step]
        for command in commands:
            if "pip install nox==" in command:
                continue
            match = re.fullmatch(r"(?:/opt/python/\S+/bin/)?nox -s (\w+)( -- [^;&|`]*)?", command)
            assert match, f"{path.name}: {command}"
            assert match[1] in sessions, f"{path.name}: no session {match[1]}"


def test_actions_are_pinned_by_commit(root: Path) -> None:
    for path in (root / ".github/workflows").iterdir():
        for line in path.read_text("utf-8").splitlines():
            if "uses:" in line and "uses: $/" not in line:
                assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), f"{path.name}: {line}"


def test_no_permission_is_given_to_a_whole_workflow(root: Path) -> None:
    for path in (root / ".github/workflows").iterdir():
        workflow = yaml.safe_load(path.read_text("utf-8"))
        assert workflow["permissions"] == {}
        for job in workflow["jobs"].values():
            assert "uses" in job or "timeout-minutes" in job
