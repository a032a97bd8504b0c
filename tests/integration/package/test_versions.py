"""The package's Triton code on the Triton of every PyTorch in the matrix. Downloads each: ``nox -s versions``.

What else the matrix promises of versions, a build shows: ``build set=all`` compiles the binding against every PyTorch,
and imports each wheel into its Python, from 3.9 on.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildtool.make.interpreters import find_uv
from buildtool.plan.matrix import load_matrix

pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
pytestmark = [pytest.mark.integration, pytest.mark.versions]

HERE = Path(__file__).resolve()
TORCHES = load_matrix(HERE.parents[3] / "matrix.toml").facts.torch
TESTS = {"0": "tests/integration/package/test_triton_compile.py", "1": "tests/unit/package/test_triton.py"}
"""By what TRITON_INTERPRET is for them."""


def uv(*words: str | Path, text: str = "") -> str:
    done = subprocess.run([find_uv(), *words], input=text, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def tritons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tritons installed so far, by version, each in a folder of its own."""
    return {"": tmp_path_factory.mktemp("tritons")}


@pytest.mark.parametrize("torch", TORCHES)
def test_triton(torch: str, root: Path, tritons: dict[str, Path]) -> None:
    """The kernels compile for every kind of GPU, and compute what the reference does in Triton's interpreter."""
    wanted = f"torch=={TORCHES[torch].releases[0]}"
    target = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")
    resolved = uv("pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", *target, text=wanted)
    found = re.search(r"^triton==(\S+)", resolved, re.MULTILINE)
    assert found, f"{wanted} brings no Triton:\n{resolved}"
    if (version := found[1]) in tritons:
        return  # the same Triton, tested with an earlier torch
    folder = tritons[""] / version
    uv("pip", "install", "--quiet", "--no-deps", "--python", sys.executable, "--target", folder, f"triton=={version}")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    check = f"import triton; assert triton.__version__.startswith({version!r}), triton.__version__"
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
    for interpreted, test in TESTS.items():
        if interpreted == "1" and version.startswith("3.1."):
            continue  # its interpreter refuses tl.arange of a constant
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(root), test]
        done = subprocess.run(
            command,
            cwd=root,
            env=environment | {"TRITON_INTERPRET": interpreted},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"Triton {version}, {test}:\n{done.stdout[-3000:]}"
    tritons[version] = folder
