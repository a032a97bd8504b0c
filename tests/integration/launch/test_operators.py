"""Attention from end to end without a GPU: the operators on tensors in memory, every kernel they launch run on the CPU.

What the binding checks, copies, quantizes and launches is put together here as in a wheel, and held to attention in
float64. The kernels by themselves are tested in tests/integration/kernels/.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.kernels.emulation import compile_library, lay_out
from tests.integration.kernels.operands import Array, as16, attend, from16
from tests.integration.launch.operators import Probe, compile_program, instances, make_archives

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("g++") is None or shutil.which("ar") is None, reason="needs g++ and ar"),
]
Words = dict[str, Any]
Call = Callable[..., tuple[Array, Array]]
QK16: Words = {"path": "f8_sm90_qk16", "gran": "none", "accum": "fp32+fp16"}
DEFAULTS: Words = {"B": 1, "Hq": 2, "Sq": 70, "Sk": 90, "D": 64, "layout": 0, "lse": 1, "dtype": "f16"}


@pytest.fixture(scope="module")
def call(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """``call(operator, arrays, words)``: the bytes of the result and of the lse, on an H200."""
    place = tmp_path_factory.mktemp
    program, cubins, sources, kernels = compile_program(root, place("program")), place("cubins"), place("s"), place("k")
    make_archives(root, cubins)
    lay_out(root, sources)
    known = instances(root, "sm_90a")

    def run(operator: str, arrays: dict[str, Array], words: Words) -> tuple[Array, Array]:
        with Probe(program, cubins, "9.0") as probe:
            planned = probe(operator, **words)
        assert not planned.error
        for name in planned.kernels:
            if not (kernels / f"{name}.so").exists():
                macros: Words = {"SOURCE": f'"{known[name].source}"', "__CUDA_ARCH__": 900, **dict(known[name].defines)}
                compile_library(sources, "kernel.cpp", macros, kernels / f"{name}.so")
        folder = place("call")
        for name, array in arrays.items():
            (folder / name).write_bytes(np.ascontiguousarray(array).tobytes())
        files = {name.replace(".", "__"): str(folder / name) for name in (*arrays, "out", "lse.file")}
        with Probe(program, cubins, "9.0", {"KERNELS": str(kernels)}) as probe:
            done = probe(operator, **words, **files)
        assert not done.error
        assert done.kernels == planned.kernels
        return np.fromfile(folder / "out", np.uint16), np.fromfile(folder / "lse.file", np.float32)

    return run


def check(out: Array, lse: Array, expected: Array, expected_lse: Array, error: float) -> None:
    assert np.isfinite(out).all()
    dead = np.isneginf(expected_lse)
    assert not out[dead].any()
    assert np.isneginf(lse[dead]).all()
    # A row with one key has that key's logit as its lse, with all that rounding Q and K to INT8 does to it.
    assert np.abs(lse[~dead] - expected_lse[~dead]).max(initial=0) < 6e-2
    assert np.abs(out - expected).sum() <= error * np.abs(expected).sum()


@pytest.mark.parametrize(
    "given",
    [
        {"path": "f16"},
        {"path": "f16", "layout": 1, "Hkv": 1, "causal": 1, "dtype": "bf16", "D": 128},
        {"path": "f16", "D": 13, "q__offset": 2, "k__gap": 3},
        {"path": "f16", "D": 200, "gran": "per_warp"},
        {"path": "f16", "accum": "fp16", "smooth_v": 1, "dtype": "bf16"},
        {"path": "f16", "mask": "bool", "mask__shape": "2x70x90"},
        {"path": "f8"},
        {"path": "f8_sm90", "B": 2, "layout": 1},
        {"path": "f8_sm90", "B": 2, "Hq": 4, "Hkv": 2, "D": 128, "causal": 1, "gran": "per_warp", "dtype": "bf16"},
        {"path": "f8_sm90", "D": 100, "accum": "fp32+fp16", "v__gap": 1, "layout": 1},
        {"path": "f8_sm90", "mask": "f32", "mask__shape": "70x90", "scale": -0.1},
        {"path": "f8_sm90", "smooth_v": 1, "smooth_k": 0},
        {"path": "f8_sm90", "accum": "fp32+fp16", "Sk": 2500},
        {"path": "f8_sm90", "Sk": 8300, "Hq": 1},
        {**QK16, "B": 2, "layout": 1, "Hq": 4, "Hkv": 2, "dtype": "bf16"},
        {**QK16, "B": 2, "D": 100, "causal": 1, "k__gap": 1},
        {**QK16, "Sk": 1100, "D": 128, "dtype": "bf16"},
    ],
    ids=str,
)
def test_attention(call: Call, given: Words) -> None:
    words: Words = {**DEFAULTS, **given}
    words = {"Hkv": words["Hq"], "scale": words["D"] ** -0.5, **words}
    random, bf16 = np.random.default_rng(3), words["dtype"] == "bf16"
    arrays: dict[str, Array] = {}
    values: dict[str, Array] = {}
    for name, h, s in (("q", "Hq", "Sq"), ("k", "Hkv", "Sk"), ("v", "Hkv", "Sk")):
        shape = (words["B"], words[h], words[s], words["D"] + words.get(f"{name}__gap", 0))
        wide = random.standard_normal(shape) + (name == "k")
        rounded, bits = as16(wide, bf16=bf16)
        if words["layout"]:
            bits = bits.transpose(0, 2, 1, 3)
        # Whatever lies before a tensor's first element and behind its last one.
        before = np.zeros(words.get(f"{name}__offset", 0) // 2, np.uint16)
        arrays[name] = np.concatenate([before, np.ascontiguousarray(bits).ravel(), np.zeros(8, np.uint16)])
        values[name] = rounded[..., : words["D"]].astype(np.float64)
    add = np.zeros((words["B"], words["Hq"], words["Sq"], words["Sk"]))
    if words.get("mask") == "bool":
        keep = random.random([int(size) for size in words["mask__shape"].split("x")]) > 0.3
        keep[..., 5, :] = False
        arrays["mask.file"], add = keep, add + np.where(keep, 0.0, -np.inf)
    elif "mask" in words:
        arrays["mask.file"] = random.standard_normal([70, 90]).astype(np.float32)
        add = add + arrays["mask.file"]
    if words.get("causal"):
        add = np.where(np.arange(words["Sk"]) <= np.arange(words["Sq"])[:, None], add, -np.inf)
    out, lse = call("attention", arrays, words)
    group = words["Hq"] // words["Hkv"]
    k, v = (np.repeat(values[name], group, 1) for name in "kv")
    expected, expected_lse = attend(values["q"], k, v, add, words["scale"])
    batch, heads, tokens, dim = expected.shape
    out = out.reshape(batch, tokens, heads, dim).swapaxes(1, 2) if words["layout"] else out.reshape(expected.shape)
    result = from16(np.ascontiguousarray(out), bf16=bf16).astype(np.float64)
    check(result, lse.reshape(batch, heads, tokens), expected, expected_lse, 0.02 if words["path"] == "f16" else 0.06)


@pytest.mark.parametrize("causal", [0, 1])
def test_packed_sequences(call: Call, causal: int) -> None:
    random, q_lengths, k_lengths = np.random.default_rng(4), (5, 0, 140, 1), (9, 64, 70, 0)
    words: Words = {"layout": 2, "path": "f16", "Hq": 4, "Hkv": 2, "D": 64, "lse": 1, "sequences": 4, "causal": causal}
    words |= {"Sq": sum(q_lengths), "Sk": sum(k_lengths), "max_q": 140, "max_k": 70, "scale": 0.125}
    parts = {"q": (words["Sq"], 4), "k": (words["Sk"], 2), "v": (words["Sk"], 2)}
    made = {name: as16(random.standard_normal((*shape, 64)), bf16=False) for name, shape in parts.items()}
    arrays = {name: bits for name, (_, bits) in made.items()}
    ends = [np.cumsum((0, *lengths), dtype=np.int32) for lengths in (q_lengths, k_lengths)]
    arrays |= {"cu_q.file": ends[0], "cu_k.file": ends[1]}
    out, lse = call("attention_varlen", arrays, words)
    result, lse = from16(out.reshape(-1, 4, 64), bf16=False).astype(np.float64).swapaxes(0, 1), lse.reshape(4, -1)
    for i in range(4):
        rows, keys = slice(*ends[0][i : i + 2]), slice(*ends[1][i : i + 2])
        places = {"q": rows, "k": keys, "v": keys}
        q, k, v = (made[name][0][at].astype(np.float64).swapaxes(0, 1) for name, at in places.items())
        add = np.zeros((q.shape[1], k.shape[1]))
        if causal:
            add = np.where(np.arange(k.shape[1]) <= np.arange(q.shape[1])[:, None], add, -np.inf)
        expected, expected_lse = attend(q, np.repeat(k, 2, 0), np.repeat(v, 2, 0), add, 0.125)
        check(result[:, rows], lse[:, rows], expected, expected_lse, 0.02)
