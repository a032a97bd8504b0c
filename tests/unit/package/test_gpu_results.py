"""The check that committed GPU results belong to the sources."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def check(root: Path) -> Any:
    spec = importlib.util.spec_from_file_location("gpu_results", root / "bench/gpu_results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(check: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout with sources of both kinds and no results."""
    (tmp_path / "bench/results").mkdir(parents=True)
    shutil.copytree(root / "kernels/launch", tmp_path / "kernels/launch")
    (tmp_path / "sageattention").mkdir()
    (tmp_path / "sageattention/core.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path


def record(checkout: Path, digest: str, **counts: int) -> None:
    document = {"source_digest": digest, "counts": counts, "gpu": "NVIDIA H200", "taken": "2026-01-01"}
    (checkout / "bench/results/gpu_tests-h200.json").write_text(json.dumps(document), encoding="utf-8")


def test_fresh_results_pass(check: Any, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(checkout, check.current_digest(checkout), passed=3, skipped=1)
    assert check.main(["--strict"]) == 0
    assert "of these sources, all passed" in capsys.readouterr().out


def test_a_changed_source_is_said(
    check: Any, checkout: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(checkout, check.current_digest(checkout), passed=3)
    (checkout / "sageattention/core.py").write_text("x = 2\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert check.main([]) == 0
    assert check.main(["--strict"]) == 7
    assert capsys.readouterr().out.startswith("::warning::bench/results/gpu_tests-h200.json: the sources have changed")


def test_failures_and_absence_are_said(check: Any, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--strict"]) == 7
    assert "never recorded" in capsys.readouterr().out
    record(checkout, check.current_digest(checkout), passed=3, failed=2)
    assert check.main(["--strict"]) == 7
    assert "2 GPU tests failed" in capsys.readouterr().out
