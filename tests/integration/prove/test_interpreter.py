"""The import check on an interpreter that is itself a virtual environment, with whatever torch that one has."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest

from buildtool.make.runner import Processes
from buildtool.make.store import Store
from buildtool.prove import trial
from tests.unit.prove import synthetic as s

pytestmark = pytest.mark.integration

TORCH = """
__version__ = "2.8.0+cu128"
class version: cuda = "12.8"
class _C:
    _dispatch_get_all_op_names = staticmethod(lambda: ["sageattention::attention", "sageattention::load"])
    _dispatch_has_kernel_for_dispatch_key = staticmethod(lambda name, key: True)
class cuda: is_available = staticmethod(lambda: False)
"""


def test_packages_of_a_virtual_environment_are_found_behind_the_wheel(tmp_path: Path) -> None:
    def refuse() -> NoReturn:
        raise AssertionError("asked for another torch")

    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env").glob("lib/python3*/site-packages")
    (site / "torch.py").write_text(TORCH)
    (site / "sageattention.py").write_text("raise ImportError('an older installation')")
    wheel = tmp_path / s.cell().wheel
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sageattention/__init__.py", "import torch\n")
        archive.writestr("sageattention/_native/record.json", json.dumps(s.wheel().stamp))
        archive.writestr("sageattention/_native/libsageattention.so", b"\0attention(Tensor q) -> Tensor\0")
        archive.writestr("sageattention-2.2.0.dist-info/METADATA", "Metadata-Version: 2.1\nVersion: 2.2.0\n")
    program = tmp_path / "env/bin/python"
    check = trial.EnvironmentTrial(Processes(), Store(tmp_path / "store"), refuse, interpreter=program)
    outcome = check(wheel, s.cell(), gpu=True)
    assert [finding.code for finding in outcome.findings] == ["gpu.skipped"]
    assert outcome.details["registered"] == ["attention", "load"]
    assert not list(site.glob("*.pth"))
