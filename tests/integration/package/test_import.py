"""``import sageattention`` and ``python -m sageattention`` in fresh processes, beside stand-ins for torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from buildtool.make.interpreters import find_python
from buildtool.make.runner import Processes
from buildtool.plan.matrix import load_matrix
from buildtool.plan.tags import version_key

pytestmark = pytest.mark.integration

Run = Callable[..., subprocess.CompletedProcess[str]]
RECORD = {
    "format": 1,
    "distribution": "sageattention",
    "version": "2.2.0",
    "build_tag": "280.128",
    "torch": "2.8.0",
    "torch_requirement": "torch==2.8.*",
    "cuda": "12.8",
    "python": "3.12",
    "platform": "linux_x86_64",
    "archs": ["sm_80", "sm_90a"],
    "min_driver": "525.60.13",
    "instances": {"sm_80": ["sage2_a"], "sm_90a": []},
    "pins": {},
    "cxx_standard": 17,
    "source_digest": "sha256:00",
}
TORCH = """
import types
__version__ = {version!r}
version = types.SimpleNamespace(cuda={cuda!r})
cuda = types.SimpleNamespace(is_available=lambda: False, device_count=lambda: 0)
def load_library(path):
    raise OSError({error!r})
ops = types.SimpleNamespace(load_library=load_library)
"""
IMPORTS = (
    "from sageattention import sageattn, sageattn_varlen, sageattn_qk_int8_pv_fp16_cuda, "
    "sageattn_qk_int8_pv_fp16_triton, sageattn_qk_int8_pv_fp8_cuda, sageattn_qk_int8_pv_fp8_cuda_sm90"
)
UNDEFINED = "libsageattention.so: undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_jRKSs"


@pytest.fixture
def site(tmp_path: Path, root: Path) -> Path:
    """An installation of the package with a record and no library."""
    shutil.copytree(
        root / "sageattention", tmp_path / "sageattention", ignore=shutil.ignore_patterns("_native", "__pycache__")
    )
    (tmp_path / "sageattention/_native").mkdir()
    (tmp_path / "sageattention/_native/record.json").write_text(json.dumps(RECORD), encoding="utf-8")
    return tmp_path


def install_torch(site: Path, version: str, cuda: str | None, error: str = UNDEFINED) -> None:
    (site / "torch").mkdir()
    (site / "torch/__init__.py").write_text(TORCH.format(version=version, cuda=cuda, error=error), encoding="utf-8")
    information = site / f"torch-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n", encoding="utf-8")


@pytest.fixture(scope="session", params=["this Python", "the oldest"])
def python(request: pytest.FixtureRequest, root: Path) -> Path:
    """The Python of the tests, and the oldest that the package promises to run on."""
    if request.param == "this Python":
        return Path(sys.executable)
    named = {version for facts in load_matrix(root / "matrix.toml").facts.torch.values() for version in facts.pythons}
    version = min(named, key=version_key)
    found = find_python(version, Processes(lambda _: None), download=False)
    if found is None:
        pytest.skip(f"no Python {version} here")
    return found


@pytest.fixture
def run(site: Path, python: Path) -> Run:
    """Run Python without site-packages, so that no other torch is found."""

    def start(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            [python, "-S", *arguments],
            capture_output=True,
            text=True,
            input=text,
            env=environment,
            cwd=site,
            timeout=120,
            check=False,
        )

    return start


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("code", [IMPORTS, "import sageattention", "from sageattention.core import sageattn"])
def test_another_torch_is_one_sentence(site: Path, run: Run, code: str) -> None:
    install_torch(site, "2.9.1+cu128", "12.8")
    done = run("-c", code)
    assert done.returncode == 1
    said = last_line(done)
    assert said.startswith("ImportError: sageattention: this is sageattention 2.2.0 for torch 2.8 and CUDA 12.8")
    assert "cu128/torch2.9" in said
    assert "undefined symbol" not in done.stderr


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (UNDEFINED, "compiled against another PyTorch build"),
        ("libc10_cuda.so: cannot open shared object file: No such file or directory", "build without CUDA"),
        ("/lib/libc.so.6: version `GLIBC_2.34' not found (required by x.so)", "newer Linux"),
        ("something new\nwith details", "something new"),
    ],
)
def test_a_library_that_does_not_load_is_one_sentence_with_the_cause(
    site: Path, run: Run, error: str, part: str
) -> None:
    install_torch(site, "2.8.0+cu128", "12.8", error)
    done = run("-c", IMPORTS)
    said = last_line(done)
    assert said.startswith("ImportError: sageattention: sageattention 2.2.0 for torch 2.8 and CUDA 12.8 did not load")
    assert part in said
    assert "undefined symbol" not in done.stderr
    assert "During handling" not in done.stderr


def test_every_module_compiles(run: Run) -> None:
    done = run("-W", "error", "-m", "compileall", "-q", "sageattention")
    assert (done.returncode, done.stdout) == (0, "")


def test_no_torch_at_all(run: Run) -> None:
    assert 'PyTorch is not installed here; install it with `pip install "torch==2.8.*"`' in last_line(
        run("-c", IMPORTS)
    )


@pytest.mark.parametrize(
    "failure",
    [
        "raise ImportError('libcudnn.so.9: cannot open shared object file: No such file or directory')",
        "raise OSError('[WinError 126] The specified module could not be found')",
        "import a_module_that_torch_needs",
    ],
)
def test_a_torch_that_does_not_import_is_not_called_missing(site: Path, run: Run, failure: str) -> None:
    install_torch(site, "2.8.0", "12.8")
    (site / "torch/__init__.py").write_text(failure, encoding="utf-8")
    said = last_line(run("-c", IMPORTS))
    assert said.startswith("ImportError: sageattention: this is sageattention 2.2.0 for torch 2.8 and CUDA 12.8")
    assert "does not import; reinstall that first (" in said
    assert "not installed" not in said


def test_a_torch_without_cuda(site: Path, run: Run) -> None:
    install_torch(site, "2.8.0+cpu", None)
    assert "build without CUDA" in last_line(run("-c", IMPORTS))


def test_a_source_tree(site: Path, run: Run) -> None:
    install_torch(site, "2.8.0", "12.8")
    shutil.rmtree(site / "sageattention/_native")
    assert "was not built" in last_line(run("-c", IMPORTS))


def test_a_damaged_record(site: Path, run: Run) -> None:
    (site / "sageattention/_native/record.json").write_text('{"format": 1}', encoding="utf-8")
    assert last_line(run("-c", IMPORTS)).startswith("ImportError: sageattention: damaged record")


def test_the_program_runs_where_the_import_cannot(site: Path, run: Run) -> None:
    install_torch(site, "2.9.1+cu128", "12.8")
    done = run("-m", "sageattention")
    assert done.returncode == 1
    assert "fit:     no: this is sageattention 2.2.0 for torch 2.8" in done.stdout
    assert done.stderr == ""


def test_the_doctor_survives_a_torch_that_kills_the_process(site: Path, run: Run) -> None:
    install_torch(site, "2.8.0+cu128", "12.8")
    (site / "torch/__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", encoding="utf-8")
    done = run("-m", "sageattention", "doctor", "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["torch"] == "2.8.0+cu128"
    assert "died" in document["torch_error"]


def test_the_doctor_tells_why_this_import_fails(site: Path, run: Run) -> None:
    install_torch(site, "2.8.0+cu128", "12.8")
    done = run("-m", "sageattention", "doctor")
    assert done.returncode == 1
    assert "fit:     it should, but the import fails: ImportError" in done.stdout
    assert "cure:    install the wheel for exactly this torch release" in done.stdout


def test_the_doctor_reads_a_pasted_text_from_standard_input(run: Run) -> None:
    done = run("-m", "sageattention", "doctor", "-", text="version `GLIBC_2.32' not found\n")
    assert "cause:   the library was linked on a newer Linux" in done.stdout


def test_another_program_started_by_its_module_name_gets_the_guard(site: Path, run: Run) -> None:
    install_torch(site, "2.9.1+cu128", "12.8")
    (site / "client").mkdir()
    (site / "client/__init__.py").write_text("import sageattention", encoding="utf-8")
    (site / "client/__main__.py").write_text("print('not reached')", encoding="utf-8")
    done = run("-m", "client")
    assert done.returncode == 1
    assert "for torch 2.8 and CUDA 12.8" in done.stderr
