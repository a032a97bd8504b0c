"""What a finished build says: the table, the manifest, and how to build again what failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buildtool.commands.summary import Summary, summary_of, write
from buildtool.console import Console
from buildtool.errors import UsageError
from buildtool.make.estimate import Estimate
from buildtool.make.ledger import Ledger
from buildtool.make.runner import Processes
from buildtool.make.workshop import CellResult
from buildtool.plan.matrix import Matrix, load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select

EXPECTED = Estimate(3, 0, 10, 0, 1, 0, 1, 0, 1, 60.0, 1e9, 2e9, 9e9, 2)
PROVEN: dict[str, Any] = {"level": "import", "sha256": "sha256:0", "size": 7, "findings": []}


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return load_matrix(Path(__file__).parents[2] / "matrix.toml")


def summary(matrix: Matrix, tmp_path: Path) -> Summary:
    """Three Pythons of one build: one wheel proven, one without an interpreter, one that does not compile."""
    cells = make_plan(matrix, select(matrix, ["set=all", "platform=linux_x86_64", "torch=2.8", "cuda=12.8"])).cells[:3]
    wheel = tmp_path / cells[0].wheel
    wheel.write_bytes(bytes(1_200_000))
    report = {**PROVEN, "trial": {"python": "3.9.18", "torch": "torch==2.8.0: real"}}
    skipped = {**PROVEN, "level": "static", "trial": {"python": "3.10", "torch": "none"}}
    skipped["findings"] = [{"code": "import.skipped", "seen": "none here"}]
    results = (
        CellResult(cells[0], "built", wheel, report=report),
        CellResult(cells[1], "unproven", wheel, "no CPython 3.10", "", 6, skipped),
        CellResult(cells[2], "failed", None, f"{cells[2].wheel}: a kernel does not compile", "mend it", 5),
    )
    spent = {"stages": {"wheel": {"cpu": 1.0, "wall": 1.0}}, "counts": {"NVRTC runs": 10}, "parts": {}, "wall": 3.0}
    return summary_of(matrix, ["torch=2.8"], "import", EXPECTED, results, spent)


def test_the_manifest_says_what_every_cell_came_to(matrix: Matrix, tmp_path: Path) -> None:
    made = summary(matrix, tmp_path)
    write(made.to_json(), tmp_path / "new/manifest.json")
    document = json.loads((tmp_path / "new/manifest.json").read_text())
    assert document["totals"] == {"built": 1, "unproven": 1, "failed": 1}
    assert [row["import"] for row in document["cells"]] == [
        "Python 3.9.18, torch==2.8.0: real",
        "not done: none here",
        "not done: no wheel",
    ]
    assert [row["python"] for row in document["cells"]] == ["3.9", "3.10", "3.11"]
    assert document["estimate"]["cubins"] == 10
    assert document["again"] == [
        "package=sageattention torch=2.8.0 cuda=12.8 python=3.10,3.11 platform=linux_x86_64",
    ]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["manifest.json"]


def test_the_table_and_the_failures(matrix: Matrix, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = summary(matrix, tmp_path)
    made.show(Console())
    made.explain(Console())
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["status", "built", "unproven", "failed"]
    assert "static; import not done: none here" in out
    assert "1 built, 1 unproven, 1 failed" in err
    assert "error: sageattention-2.2.0-280.128-cp311-cp311-linux_x86_64.whl: the wheel: a kernel does not" in err
    assert "fix: mend it" in err
    assert "python -m buildtool build package=sageattention torch=2.8.0 cuda=12.8 python=3.10,3.11" in err


def test_failures_of_one_cause_are_said_once(
    matrix: Matrix, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = summary(matrix, tmp_path)
    results = [CellResult(r.cell, "failed", None, "no compiler", "install one", 6) for r in made.results]
    summary_of(matrix, [], "import", EXPECTED, results, made.spent).explain(Console())
    err = capsys.readouterr().err
    assert err.count("no compiler") == 1
    assert "and 2 more" in err


def test_a_manifest_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        write({}, tmp_path / "file" / "manifest.json")


def test_what_is_spent_on_a_part_is_counted_in_its_stage_too() -> None:
    ledger = Ledger()
    with ledger.account("one") as own:
        own.add("wheel", 2.0, 3.0)
        own.count("bindings compiled")
        with own.stage("verify", Processes()):
            pass
    ledger.add("wheel", 1.0)
    ledger.charge("other", 0.5)
    document = ledger.to_json()
    assert document["stages"]["wheel"] == {"cpu": 3.0, "wall": 3.0}
    assert document["counts"] == {"bindings compiled": 1}
    assert document["parts"]["one"] >= 2.0
    assert document["parts"]["other"] == 0.5
