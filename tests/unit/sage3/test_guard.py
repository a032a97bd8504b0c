from __future__ import annotations

import json
from typing import Any

import pytest

from sageattn3 import _native

RECORD = {
    "format": 1,
    "version": "1.0.0",
    "torch": "2.8.0",
    "torch_requirement": "torch==2.8.*",
    "cuda": "12.9",
    "archs": ["sm_120f"],
}


@pytest.fixture
def record() -> Any:
    return _native.parse(json.dumps(RECORD))


def test_a_fitting_torch_is_no_misfit(record: Any) -> None:
    assert _native.misfit(record, "2.8.1+cu129", "12.9") is None


@pytest.mark.parametrize(
    ("version", "cuda", "words"),
    [
        (None, None, ("not installed", "torch==2.8.*")),
        ("2.9.0", "12.8", ("torch 2.9.0", "sageattn3 wheel for torch 2.9", "CUDA 12.8")),
        ("2.8.0+cpu", None, ("without CUDA",)),
    ],
)
def test_a_misfit_says_what_to_install(record: Any, version: Any, cuda: Any, words: Any) -> None:
    sentence = _native.misfit(record, version, cuda)
    assert sentence is not None
    assert all(word in sentence for word in words)


def test_a_source_tree_says_how_to_build_it() -> None:
    sentence = _native.misfit(None, "2.8.0", "12.8")
    assert sentence is not None
    assert "buildtool build package=sageattn3" in sentence


@pytest.mark.parametrize(
    ("arch", "capability", "runs"),
    [
        ("sm_120a", (12, 0), True),
        ("sm_120a", (12, 1), False),
        ("sm_120f", (12, 1), True),
        ("sm_121a", (12, 0), False),
        ("sm_120f", (9, 0), False),
    ],
)
def test_which_gpu_runs_which_cubins(arch: Any, capability: Any, runs: Any) -> None:
    assert bool(_native.rank(arch, capability)) == runs


@pytest.mark.parametrize(
    ("capability", "words"), [((9, 0), "no FP4"), ((10, 0), "tcgen05"), ((8, 9), "no FP4"), ((12, 1), None)]
)
def test_a_gpu_without_fp4_is_told_the_alternative(record: Any, capability: Any, words: Any) -> None:
    sentence = _native.unsupported(record, "GPU", capability)
    if words is None:
        assert sentence is None
    else:
        assert sentence is not None
        assert words in sentence
        assert 'fallback="sageattention"' in sentence


def test_gb10_under_a_wheel_of_cuda_12_8_is_told_the_wheel() -> None:
    record = _native.parse(json.dumps({**RECORD, "archs": ["sm_120a"]}))
    assert "12.9 or newer" in str(_native.unsupported(record, "GB10", (12, 1)))


@pytest.mark.parametrize("text", ["{}", "[]", '{"format": 2}', "no json", json.dumps({**RECORD, "archs": 5})])
def test_a_damaged_record_is_named(text: Any) -> None:
    with pytest.raises(ValueError, match=r"record|Expecting"):
        _native.parse(text)
