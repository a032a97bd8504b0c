"""Real pip and real uv against a served site, and the flat page that must fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.publish.fake_dist import cells_of, write_dist

pytestmark = pytest.mark.integration


def test_installers_choose_right_from_channels_and_wrong_from_a_flat_page(root: Path, tmp_path: Path) -> None:
    words = ("set=release", "torch=2.8,2.9", "package=sageattention")
    write_dist(cells_of(root, *words), tmp_path / "dist")
    argv: list[str | Path] = [
        sys.executable,
        "-m",
        "buildtool",
        "index",
        tmp_path / "dist",
        "--out",
        tmp_path / "site",
        "--self-test",
        "--variants",
        "--json",
    ]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert all(outcome["ok"] for outcome in outcomes)
    clients = {outcome["client"].split()[0] for outcome in outcomes}
    assert clients == {"pip", "uv"}
    cases = {outcome["case"] for outcome in outcomes}
    assert {"right", "other torch", "flat page", "right (choice only)", "variants"} <= cases
    swapped = [outcome["seen"] for outcome in outcomes if outcome["case"] == "flat page"]
    assert swapped == ["torch 2.8.0 became 2.9.0"] * 3
    assert (tmp_path / "site" / "index.html").is_file()
