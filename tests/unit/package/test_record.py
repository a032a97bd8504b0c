"""The wheel's record, and the one sentence that a user gets where the wheel does not fit."""

from __future__ import annotations

import json

import pytest

from sageattention import _record
from sageattention._machine import GpuInfo, Machine

H200 = Machine("580.159.04", (GpuInfo("NVIDIA H200", (9, 0)),))
B200 = Machine("580.159.04", (GpuInfo("NVIDIA B200", (10, 0)),))
NONE = Machine()


@pytest.fixture
def record(record_text: str) -> _record.Record:
    return _record.parse(record_text)


def test_a_record_is_read_back(record: _record.Record) -> None:
    assert record.torch_minor == (2, 8)
    assert record.archs[-1] == "sm_120a"
    assert record.title == "sageattention 2.2.0 for torch 2.8 and CUDA 12.8"


@pytest.mark.parametrize("change", [{"format": 2}, {"archs": None}, {"instances": []}, {"version": ...}])
def test_a_damaged_record_is_a_value_error(record_text: str, change: dict[str, object]) -> None:
    document = json.loads(record_text)
    for key, value in change.items():
        if value is ...:
            del document[key]
        else:
            document[key] = value
    with pytest.raises(ValueError, match=r"record"):
        _record.parse(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_text_that_is_no_record_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        _record.parse(text)


@pytest.mark.parametrize("torch", ["2.8.0", "2.8.1+cu129", "2.8.0+cu128"])
@pytest.mark.parametrize("machine", [H200, NONE])
def test_the_right_torch_fits_with_and_without_a_gpu(record: _record.Record, torch: str, machine: Machine) -> None:
    assert _record.misfit(record, torch, "12.9", machine) is None


def test_another_torch_names_both_and_the_wheel_that_would_do(record: _record.Record) -> None:
    sentence = _record.misfit(record, "2.9.1+cu128", "12.8", H200)
    assert sentence is not None
    for part in (
        "for torch 2.8 and CUDA 12.8",
        "has torch 2.9.1+cu128",
        "cu128/torch2.9",
        'pip install "torch==2.8.*"',
    ):
        assert part in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("torch", "cuda", "part"),
    [
        (None, None, "PyTorch is not installed"),
        ("2.8.0+cpu", None, "build without CUDA"),
        ("2.9.0+cpu", None, "needs a CUDA build of torch"),
    ],
)
def test_a_torch_without_cuda_or_none_at_all(
    record: _record.Record, torch: str | None, cuda: str | None, part: str
) -> None:
    assert part in str(_record.misfit(record, torch, cuda, H200))


def test_a_source_tree_says_so() -> None:
    assert "not built" in str(_record.misfit(None, "2.8.0", "12.8", H200))


def test_a_gpu_without_code_names_it_the_list_and_the_remedy(record: _record.Record) -> None:
    sentence = str(_record.misfit(record, "2.8.0", "12.8", B200))
    for part in (
        "NVIDIA B200 (compute capability 10.0)",
        "sm_80, sm_86, sm_89, sm_90a, sm_120a",
        "sm_100a",
        "CUDA 12.8",
    ):
        assert part in sentence


def test_one_supported_gpu_among_several_is_enough_and_the_other_is_noted(record: _record.Record) -> None:
    both = Machine("580", H200.gpus + B200.gpus)
    assert _record.misfit(record, "2.8.0", "12.8", both) is None
    assert any("NVIDIA B200" in note for note in _record.notes(record, "12.8", both))


def test_notes(record: _record.Record) -> None:
    assert _record.notes(record, "12.8", H200) == []
    assert "no NVIDIA GPU" in _record.notes(record, "12.8", NONE)[0]
    assert "older than 525.60.13" in _record.notes(record, "12.8", Machine("470.82", H200.gpus))[0]
    assert "that works" in _record.notes(record, "13.0", H200)[0]
