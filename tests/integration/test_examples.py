"""The runner of the examples and the launch script of ComfyUI, with stand-ins for what needs a GPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench import examples

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("return {'what': 'it', 'error': 0.01, 'allowed': 0.05}", "passed"),
        ("return {'what': 'it', 'error': 0.06, 'allowed': 0.05}", "failed"),
        ("return {'what': 'it', 'error': float('nan'), 'allowed': 0.05}", "failed"),
        ("raise RuntimeError('no kernel image')", "failed"),
    ],
)
def test_an_example_passes_only_within_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, outcome: str
) -> None:
    monkeypatch.setattr(examples, "EXAMPLES", tmp_path)
    (tmp_path / "one.py").write_text(f"def measure():\n    print('progress')\n    {body}\n")
    row = examples.run_module("one", "json")
    assert row["outcome"] == outcome
    assert ("no kernel image" in row.get("why", "")) == body.startswith("raise")


def test_an_example_without_its_client_is_left_out() -> None:
    row = examples.run_module("one", "a_client_that_nobody_has")
    assert row == {"outcome": "left out", "why": "a_client_that_nobody_has is not installed"}
    assert examples.run_comfyui("")["outcome"] == "left out"


PYTHON = """#!/bin/sh
echo "${PYTHONSAFEPATH:+safe }$*" >> "$LOG"
case "$*" in
  *comfyui_check.py*) [ -z "${UNFIT:-}" ] && echo "attention_sage; relative L1 difference 0.0300";;
  *main.py*) echo "Using sage attention";;
esac
"""


def test_comfyui_starts_after_the_doctor_and_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    log = tmp_path / "log"
    monkeypatch.setenv("LOG", str(log))
    monkeypatch.setenv("COMFYUI", "/comfy")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr(examples.sys, "executable", str(python))  # type: ignore[attr-defined]
    row = examples.run_comfyui("/comfy")
    assert row == {"outcome": "passed", "what": "attention_sage; relative L1 difference 0.0300"}
    doctor, check, launch = log.read_text().splitlines()
    assert doctor == "safe -m sageattention doctor"  # of the wheel, also in a folder that has the sources
    assert check.endswith("example/comfyui_check.py /comfy")
    assert launch == "/comfy/main.py --use-sage-attention --quick-test-for-ci"
    monkeypatch.setenv("UNFIT", "1")
    log.unlink()
    assert examples.run_comfyui("/comfy")["outcome"] == "failed"
    assert "main.py" not in log.read_text()


def test_comfyui_needs_to_know_the_checkout() -> None:
    env = {key: value for key, value in os.environ.items() if key != "COMFYUI"}
    script = examples.EXAMPLES / "comfyui.sh"
    done = subprocess.run(["sh", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "set COMFYUI" in done.stderr
