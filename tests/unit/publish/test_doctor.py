"""Which wheel fits, why none does, and what error texts mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.cli import main
from buildtool.errors import UsageError
from buildtool.prove.package import families, load_causes, load_dispatch
from buildtool.publish.dist import read_dist
from buildtool.publish.doctor import Advice, Offer, advise, explain, offer_of_cell, offers_of_manifest, read_machine
from buildtool.publish.index import Hosting, render_manifest
from tests.unit.publish.fake_dist import cells_of, write_dist

REPORT: dict[str, Any] = {
    "python": "3.12.1",
    "platform": "Linux x86_64",
    "torch": "2.8.0+cu128",
    "torch_cuda": "12.8",
    "driver": "580.65.06",
    "gpus": [{"name": "NVIDIA H200", "capability": "9.0"}],
}


@pytest.fixture(scope="module")
def offers(root: Path) -> tuple[Offer, ...]:
    return tuple(offer_of_cell(cell) for cell in cells_of(root, "set=all", "package=sageattention"))


def ask(root: Path, offers: tuple[Offer, ...], **changes: Any) -> Advice:
    machine = read_machine({**REPORT, **changes})
    return advise(machine, offers, "sageattention", load_dispatch(root), "https://example.org/")


def test_the_wheel_that_fits(root: Path, offers: tuple[Offer, ...]) -> None:
    advice = ask(root, offers)
    assert advice.wheel == "sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl"
    assert advice.commands == (
        "pip install sageattention --index-url https://example.org/cu128/torch2.8/",
        "uv pip install sageattention --default-index https://example.org/cu128/torch2.8/",
    )
    assert advice.reasons == ()


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"torch": None, "torch_cuda": None}, "PyTorch is not installed"),
        ({"torch": "2.8.0+cpu", "torch_cuda": None}, "without CUDA"),
        ({"torch": "2.4.1"}, "torch 2.5 is nearest"),
        ({"python": "3.8.10"}, "no wheel for Python 3.8"),
        ({"platform": "Darwin arm64"}, "no wheel of sageattention for Darwin aarch64"),
        ({"driver": "470.82.01"}, "driver 470.82.01 is older"),
        ({"gpus": [{"name": "Tesla T4", "capability": "7.5"}]}, "no wheel for torch 2.8 has code for Tesla T4"),
    ],
)
def test_why_not(root: Path, offers: tuple[Offer, ...], changes: dict[str, Any], part: str) -> None:
    advice = ask(root, offers, **changes)
    assert advice.wheel == ""
    assert advice.commands == ()
    assert any(part in reason for reason in advice.reasons)


def test_another_cuda_is_taken_with_a_note(root: Path, offers: tuple[Offer, ...]) -> None:
    only = tuple(offer for offer in offers if offer.cuda == "12.6")
    advice = ask(root, only, gpus=[{"name": "A100", "capability": "8.0"}])
    assert "280.126" in advice.wheel
    assert "built for CUDA 12.8" in advice.reasons[0]


def test_an_old_driver_gets_an_older_cuda(root: Path, offers: tuple[Offer, ...]) -> None:
    advice = ask(root, offers, torch="2.14.0", torch_cuda="13.0", driver="560.35.03")
    assert "2140.126" in advice.wheel


def test_a_manifest_says_the_same_as_the_matrix(root: Path, tmp_path: Path) -> None:
    cells = cells_of(root, "set=release", "package=sageattention")
    manifest = json.loads(render_manifest(read_dist(write_dist(cells, tmp_path)), Hosting()))
    assert sorted(offers_of_manifest(manifest), key=str) == sorted(map(offer_of_cell, cells), key=str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*REPORT, "wheels"]), JSON))
def test_any_json_is_read_or_refused(root: Path, document: Mapping[str, Any]) -> None:
    dispatch = load_dispatch(root)
    with suppress(UsageError):
        advise(read_machine(document), (), "sageattention", dispatch)
    with suppress(UsageError):
        offers_of_manifest(document)


TEXTS = [
    ("ImportError: _qattn_sm80.so: undefined symbol: _ZN3c104cuda9SetDeviceEi", "undefined-symbol"),
    ("undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs", "cxx11-abi"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "no-kernel"),
    (
        "ImportError: DLL load failed while importing _fused: The specified procedure could not be found.",
        "undefined-symbol",
    ),
    ("ImportError: DLL load failed while importing _fused: The specified module could not be found.", "dll-missing"),
    ("/lib64/libc.so.6: version `GLIBC_2.32' not found (required by flash_attn_2_cuda.so)", "glibc"),
    ("ImportError: libcudart.so.13: cannot open shared object file: No such file or directory", "libcudart"),
    ("  Attempting uninstall: torch\n    Found existing installation: torch 2.8.0", "torch-replaced"),
    ("ERROR: ResolutionImpossible: for help visit the documentation", "resolution"),
    ("x-cp311-cp311-linux_x86_64.whl is not a supported wheel on this platform.", "wrong-platform"),
    ("ModuleNotFoundError: No module named 'triton'", "no-triton"),
    ("RuntimeError: The detected CUDA version (13.0) mismatches the version that was used to compile", "cuda-mismatch"),
    ("ModuleNotFoundError: No module named 'torch'", "no-torch"),
]


@pytest.mark.parametrize(("text", "code"), TEXTS)
def test_error_texts(root: Path, text: str, code: str) -> None:
    cause = explain(text, load_causes(root))
    assert cause is not None
    assert cause.code == code


def test_unknown_texts(root: Path) -> None:
    assert explain("all is well", load_causes(root)) is None


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps(REPORT))
    argv = ["--project", str(root), "doctor", "--env", str(report), "--json"]
    assert main(argv) == 0
    assert "280.128" in json.loads(capsys.readouterr().out)["advice"]["wheel"]
    assert main(["--project", str(root), "doctor", "no kernel image is available"]) == 0
    assert "no code for this GPU" in capsys.readouterr().out
    assert main(["--project", str(root), "doctor", "--why", "no kernel image is available"]) == 0
    assert "no code for this GPU" in capsys.readouterr().out
    assert main(["--project", str(root), "doctor", "all is well"]) == 1
    report.write_text("[]")
    assert main(argv) == 2


def test_dispatch_is_read_from_the_package(root: Path) -> None:
    found = families(root, "12.8")
    assert "sage2_wgmma" in found["sm_90a"]
    assert "sage2_wgmma" not in found["sm_80"]
