"""What the operators launch, and with what, without torch or a GPU.

The binding and the launch layer are compiled against stand-ins of torch's tensors and of the driver, which print every
launch. The archives have the names of a real wheel, so a kernel that is asked for and not compiled is an error.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.launch.operators import Outcome, Probe, compile_program, make_archives

QK16_LACKS = "no attn_mask, no smooth_v and no negative sm_scale"
QK16 = {"path": "f8_sm90_qk16", "gran": "none", "accum": "fp32+fp16"}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("g++") is None or shutil.which("ar") is None, reason="needs g++ and ar"),
]


@pytest.fixture(scope="module")
def probes(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Probe]]:
    """By compute capability: an A100 and an H200."""
    program, cubins = compile_program(root, tmp_path_factory.mktemp("program")), tmp_path_factory.mktemp("cubins")
    make_archives(root, cubins)
    with Probe(program, cubins, "8.0") as a100, Probe(program, cubins, "9.0") as h200:
        yield {"8.0": a100, "9.0": h200}


@pytest.fixture(scope="module")
def h200(probes: dict[str, Probe]) -> Probe:
    return probes["9.0"]


@pytest.mark.parametrize(
    ("words", "kernels"),
    [
        ({"path": "f16"}, ["sage2_quant_k_f16_d64", "sage2_mma_f16_d64"]),
        ({"path": "f16", "D": 100}, ["sage2_pack_f16"] * 2 + ["sage2_quant_k_f16_d128", "sage2_mma_f16_d128"]),
        ({"path": "f16", "D": 200, "dtype": "bf16"}, ["sage2_quant_k_bf16_d256", "sage2_mma_bf16_d256"]),
        ({"path": "f16", "accum": "fp16"}, ["sage2_quant_k_f16_d64", "sage2_mma_acc16_d64"]),
        ({"path": "f16", "accum": "fp16+fp32"}, ["sage2_quant_k_f16_d64", "sage2_mma_flush16_d64"]),
        ({"path": "f16", "mask": "bool"}, ["sage2_quant_k_f16_d64", "sage2_mma_mask_f16_d64"]),
        (
            {"path": "f16", "accum": "fp16", "smooth_v": 1, "dtype": "bf16"},
            ["sage2_pack_bf16", "sage2_quant_k_bf16_d64", "sage2_mma_acc16_d64"],
        ),
        ({"path": "f8"}, ["sage2_quant_kv_fused_f16_d64", "sage2_mma_f8_d64"]),
        ({"path": "f8", "accum": "fp32+fp16"}, ["sage2_quant_kv_fused_f16_d64", "sage2_mma_f8_acc16_d64"]),
        ({"path": "f8_sm90"}, ["sage2_quant_kv_resident_f16_d64", "sage2_wgmma_d64_f32_plain"]),
        (QK16, ["sage2_quant_v_resident_f16_d64", "sage2_wgmma_qk16_f16_d64_plain"]),
        (
            {**QK16, "D": 96, "lse": 1, "dtype": "bf16"},
            ["sage2_quant_v_resident_bf16_d128", "sage2_wgmma_qk16_bf16_d128_lse"],
        ),
        ({**QK16, "Sk": 2000}, ["sage2_quant_kv_fused_f16_d64", "sage2_wgmma_qk16_f16_d64_plain"]),
        (
            {**QK16, "Sk": 9000},
            ["sage2_quant_kv_amax_f16_d64", "sage2_quant_v_apply_f16", "sage2_wgmma_qk16_f16_d64_plain"],
        ),
        (
            {**QK16, "k__offset": 2},
            ["sage2_pack_f16", "sage2_quant_v_resident_f16_d64", "sage2_wgmma_qk16_f16_d64_plain"],
        ),
        (
            {**QK16, "k__expanded": 1},
            ["sage2_pack_f16", "sage2_quant_v_resident_f16_d64", "sage2_wgmma_qk16_f16_d64_plain"],
        ),
        ({"path": "f8_sm90", "D": 96, "lse": 1}, ["sage2_quant_kv_resident_f16_d128", "sage2_wgmma_d128_f32_lse"]),
        (
            {"path": "f8_sm90", "accum": "fp32+fp16", "Sk": 9000},
            ["sage2_quant_kv_amax_f16_d64", "sage2_quant_v_apply_f16", "sage2_wgmma_d64_f16_plain"],
        ),
        (
            {"path": "f8_sm90", "accum": "fp32+fp16", "mask": "f32"},
            ["sage2_quant_kv_resident_f16_d64", "sage2_wgmma_d64_f32_mask"],
        ),
        (
            {"path": "f8_sm90", "q__offset": 2},
            ["sage2_pack_f16", "sage2_quant_kv_resident_f16_d64", "sage2_wgmma_d64_f32_plain"],
        ),
        # A row that all queries share has no place in a tensor map.
        (
            {"path": "f8_sm90", "q__expanded": 1},
            ["sage2_pack_f16", "sage2_quant_kv_resident_f16_d64", "sage2_wgmma_d64_f32_plain"],
        ),
    ],
    ids=str,
)
def test_the_kernels_of_a_call(h200: Probe, words: dict[str, Any], kernels: list[str]) -> None:
    outcome = h200("attention", **words)
    assert not outcome.error
    assert outcome.kernels == kernels
    assert [launch["dependent"] for launch in outcome.launches] == [0] * (len(kernels) - 1) + [1]


def test_a_kernel_that_the_wheel_lacks_for_the_gpu_is_named(probes: dict[str, Probe]) -> None:
    assert "kernel sage2_quant_kv_amax_f16_d64.cubin is not in" in probes["8.0"]("attention", path="f8").error
    assert not probes["8.0"]("attention", path="f16").error


@pytest.mark.parametrize(
    ("words", "form"),
    [
        ({"Hkv": 8, "Sk": 1024, "D": 128}, "resident"),
        ({"B": 4, "Hkv": 32, "Sk": 1024, "D": 128}, "fused"),
        ({"B": 4, "Hkv": 32, "Sk": 2048, "D": 128}, "resident"),
        ({"B": 4, "Hkv": 32, "Sk": 2048, "D": 64}, "fused"),
        ({"B": 4, "Hkv": 32, "Sk": 32768, "D": 64}, "resident"),
        ({"Hkv": 24, "Sk": 4608, "D": 128}, "fused"),
        # What tests/gpu/test_faults.py compares with K at an odd address.
        ({"Hq": 4, "Hkv": 2, "Sq": 100, "Sk": 90, "D": 64}, "resident"),
        ({"B": 2, "Hq": 24, "Hkv": 8, "Sq": 700, "Sk": 2000, "D": 128}, "resident"),
        ({"B": 4, "Hkv": 32, "Sq": 300, "Sk": 2500, "D": 72}, "resident"),
        ({"B": 4, "Hkv": 32, "Sq": 200, "Sk": 4100, "D": 64}, "resident"),
        ({"B": 4, "Hkv": 32, "Sq": 200, "Sk": 4100, "D": 64, "k__offset": 2}, "fused"),
        ({"Hkv": 24, "Sk": 32768, "D": 128}, "amax"),
        ({"k__offset": 2}, "fused"),
        ({"v__gap": 1}, "fused"),
        ({"smooth_v": 1}, "fused"),
    ],
    ids=str,
)
def test_how_keys_and_values_are_prepared(h200: Probe, words: dict[str, Any], form: str) -> None:
    words = {"path": "f8_sm90", "Hq": words.get("Hkv", 2), **words}
    assert f"sage2_quant_kv_{form}_" in h200("attention", **words).kernels[0]


SHAPES = st.fixed_dictionaries(
    {
        "B": st.sampled_from([1, 2, 3, 60]),
        "Sq": st.sampled_from([1, 63, 64, 129, 1000, 5000]),
        "Sk": st.sampled_from([1, 64, 127, 128, 1025, 8192, 9000]),
        "D": st.integers(1, 256),
        "dtype": st.sampled_from(["f16", "bf16"]),
        "gran": st.sampled_from(["per_thread", "per_warp"]),
        **{f"{x}__gap": st.sampled_from([0, 0, 1, 8, 64]) for x in "qkv"},
        **{f"{x}__offset": st.sampled_from([0, 0, 2, 16]) for x in "qkv"},
        **{f"{x}__expanded": st.sampled_from([0, 0, 0, 1]) for x in "qkv"},
        **{name: st.integers(0, 1) for name in ("smooth_k", "smooth_v", "lse", "causal")},
    }
)
HEADS = st.tuples(st.integers(1, 3), st.sampled_from([1, 2, 4]))
PATHS = st.sampled_from(
    [
        *(("f16", accum) for accum in ("fp32", "fp16", "fp16+fp32")),
        *((path, accum) for path in ("f8", "f8_sm90") for accum in ("fp32", "fp32+fp32", "fp32+fp16")),
    ]
)


def check_launches(outcome: Outcome, words: dict[str, Any], q_tokens: int, k_tokens: int) -> dict[str, Any]:
    """What kernels/include/sage/params.h promises the kernels, for so many tokens of a head, over all batches.

    Returns the attention kernel's parameters.
    """
    assert not outcome.error
    attention = outcome.launches[-1]
    padded = int(attention["kernel"].split("_d")[1].split("_")[0])
    assert words["D"] <= attention["head_dim"] <= padded
    for rows in ("q", "out", *(["v"] if words["path"] == "f16" else [])):
        assert attention[f"{rows}.data"] % 16 == 0
        assert attention["head_dim"] % 8 == 0
        assert all(attention[f"{rows}.{stride}"] % 8 == 0 for stride in ("batch", "head", "token"))
    assert (attention["v.data"] == 0) == (words["path"] != "f16")
    for made in outcome.maps:
        assert made["map"] % 16 == 0
        assert all(stride % 16 == 0 and stride > 0 for stride in made["strides"])
        assert all(0 < size <= 256 for size in made["box"])
        assert all(size > 0 for size in made["dims"])

    # Whoever prepares an operand, and who reads it, mean the same place; and no two operands share one.
    (keys,) = (x for x in outcome.launches if ("k8" in x and "scale" in x) or "k.k8" in x)
    keys = {name.removeprefix("k."): value for name, value in keys.items() if not name.startswith("k.k.")}
    assert (keys["k8"], keys["scale"], keys["counter"]) == tuple(attention[x] for x in ("k8", "k_scale", "counter"))
    assert attention["k_mean"] == (keys["mean"] if words["smooth_k"] else 0)
    heads = attention["Hkv"] * (1 if attention["cu_k"] else attention["B"])
    means = attention["B"] * attention["Hkv"] * padded * 4
    rows = heads * attention["k_rows"]
    places = [(keys["k8"], rows * padded), (keys["scale"], rows // keys["block"] * 16), (keys["mean"], means)]
    places += [(attention["counter"], 4)]
    if words["path"] != "f16":
        places += [(attention["v8"], rows * padded), (attention["v_scale"], means)]
        (values,) = (x for x in outcome.launches if "v.partial" in x)
        places += [(values["v.mean"], means)]
        assert attention["v_mean"] == (values["v.mean"] if words["smooth_v"] else 0)
        if "resident" in values["kernel"]:  # attention begins beside the preparation
            assert values["early"] <= values["heads"] * values["parts"]
            assert values["parts"] <= 16
            assert attention["wgmma.ready"] == values["ready"]
            places += [(values["ready"], values["heads"] * 16)]
        else:
            assert not attention.get("wgmma.ready")
            assert not values.get("ready")
        chunks = values["v.chunks"] if "amax" in values["kernel"] else 0  # whose maxima are between two passes
        places += [(values["v.partial"], heads * chunks * padded * 4)]
    elif attention["v_mean"]:
        places += [(attention["v_mean"], means)]
    for copy in (x for x in outcome.launches if x["kernel"].startswith("sage2_pack")):
        tokens = q_tokens if copy["out.data"] == attention["q.data"] else k_tokens
        places += [(copy["out.data"], copy["H"] * tokens * copy["columns"] * 2)]
    (space,) = (a for a, size in outcome.allocated.items() if a <= attention["counter"] < a + size)
    places.sort()
    assert all(place % 256 == 0 for place, _ in places)
    ends = [space, *(place + size for place, size in places)]
    assert all(end <= place for end, (place, _) in zip(ends, places, strict=False))
    assert ends[-1] <= space + outcome.allocated[space]
    return attention


@settings(max_examples=300, deadline=None)
@given(words=SHAPES, heads=HEADS, path=PATHS, layout=st.integers(0, 1))
def test_dense_launches(
    h200: Probe, words: dict[str, Any], heads: tuple[int, int], path: tuple[str, str], layout: int
) -> None:
    words = words | {"path": path[0], "accum": path[1], "Hkv": heads[0], "Hq": heads[0] * heads[1], "layout": layout}
    if path[0] != "f16":
        words["D"] = (words["D"] - 1) % 128 + 1
    outcome = h200("attention", **words)
    attention = check_launches(outcome, words, words["B"] * words["Sq"], words["B"] * words["Sk"])
    assert attention["k_rows"] == -(-words["Sk"] // 128) * 128
    assert (attention["lse"] != 0) == words["lse"]
    shape = (words["B"], words["Hq"], words["Sq"], words["D"])
    assert outcome.allocated[min(outcome.allocated)] == 2 * shape[0] * shape[1] * shape[2] * shape[3]
    ragged = words["D"] % 8 != 0
    assert (attention["out.data"] == min(outcome.allocated)) == (not ragged)
    copies = [{"copy": min(outcome.allocated), "from": attention["out.data"]}]
    assert outcome.actions == (copies if ragged else [])


@settings(max_examples=200, deadline=None)
@given(words=SHAPES, heads=HEADS, sequences=st.integers(1, 5), limit=st.sampled_from([1, 100, 10000]))
def test_packed_launches(
    h200: Probe, words: dict[str, Any], heads: tuple[int, int], sequences: int, limit: int
) -> None:
    words = words | {"path": "f16", "layout": 2, "Hkv": heads[0], "Hq": heads[0] * heads[1], "sequences": sequences}
    outcome = h200("attention_varlen", **words, max_q=limit, max_k=limit)
    attention = check_launches(outcome, words, words["Sq"], words["Sk"])
    assert (attention["B"], attention["Sq"]) == (sequences, min(limit, words["Sq"]))
    assert attention["cu_q"]
    assert attention["cu_k"]
    # Each sequence begins on a tile of its own, wherever the boundaries are.
    assert attention["k_rows"] >= (words["Sk"] - sequences) // 128 * 128 + sequences * 128


@pytest.mark.parametrize("path", ["f16", "f8", "f8_sm90"])
@pytest.mark.parametrize(
    "nothing", [{"B": 0}, {"Sq": 0}, {"Sk": 0, "Sq": 5}, {"Hq": 0, "Hkv": 0}], ids=["batch", "queries", "keys", "heads"]
)
def test_nothing_to_do_launches_nothing(h200: Probe, path: str, nothing: dict[str, int]) -> None:
    outcome = h200("attention", path=path, lse=1, **nothing)
    assert not outcome.error
    assert not outcome.launches
    filled = {key for action in outcome.actions for key in action} - {"from"}
    assert filled == ({"zero", "fill"} if "Sk" in nothing else set())


def test_more_heads_and_elements_than_32_bits_count(h200: Probe) -> None:
    many = h200("attention", path="f16", B=70000, Hq=2, Sq=1)
    assert many.launches[-1]["grid"] == 140000
    far = h200("attention", path="f8_sm90", B=2, Hq=40, Sq=500_000, D=128)
    assert far.launches[-1]["q.batch"] == 40 * 500_000 * 128
    assert far.launches[-1]["out.batch"] == 40 * 500_000 * 128
    assert far.launches[-1]["v8"] - far.launches[-1]["k8"] > 2**31
    assert "a grid holds 1 to 2147483647" in h200("attention", path="f16", B=2_000_000_000, Hq=2, Sq=1).error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"layout": 3}, "ValueError: layout must be 0 (HND) or 1 (NHD), got 3"),
        ({"path": "x"}, "ValueError: path must be f16, f8, f8_sm90 or f8_sm90_qk16, got x"),
        ({"gran": "x"}, "ValueError: granularity must be per_warp or per_thread, got x"),
        (
            {"accum": "fp16"},
            "ValueError: pv_accum_dtype of path f8_sm90 must be fp32, fp32+fp32 or fp32+fp16, got fp16",
        ),
        (
            {**QK16, "gran": "per_warp"},
            "ValueError: path f8_sm90_qk16 quantizes neither Q nor K: granularity none, got per_warp",
        ),
        (
            {**QK16, "accum": "fp32+fp32"},
            "ValueError: pv_accum_dtype of path f8_sm90_qk16 must be fp32+fp16, got fp32+fp32",
        ),
        *(
            ({**QK16, **words}, f"ValueError: path f8_sm90_qk16 takes {QK16_LACKS}; path f8_sm90 does")
            for words in ({"mask": "bool"}, {"smooth_v": 1}, {"scale": -0.1})
        ),
        ({"D": 200}, "ValueError: head_dim over 128 needs path f16; the f8 paths take 1 to 128, got 200"),
        ({"Hq": 3, "Hkv": 2}, "ValueError: q's heads must be a multiple of k's heads, got 3 and 2"),
        ({"scale": "inf"}, "ValueError: sm_scale must be finite, got inf"),
        ({"k__B": 2}, "ValueError: v must have k's batch, heads and length [2, 2, 100], got [1, 2, 100]"),
        ({"q__B": 2}, "ValueError: k must have q's batch size 2, got 1"),
        ({"v__S": 7}, "ValueError: v must have k's batch, heads and length [1, 2, 100], got [1, 2, 7]"),
        ({"q__device": "cpu"}, "ValueError: q must be a CUDA tensor, got one on cpu:0"),
        ({"v__device": "other"}, "ValueError: v must be on q's device cuda:0, got cuda:1"),
        ({"k__dtype": "bf16"}, "TypeError: k must have q's dtype Half, got BFloat16"),
        ({"mask": "i32"}, "TypeError: attn_mask must be bool, float32 or q's dtype Half, got Int"),
        ({"mask": "bool", "mask__device": "cpu"}, "ValueError: attn_mask must be on q's device cuda:0, got cpu:0"),
        (
            {"mask": "bool", "mask__shape": "1x1x1x7"},
            "ValueError: attn_mask must broadcast to [batch, heads, q length, kv length] = [1, 2, 100, 100], got shape "
            + str([1, 1, 1, 7]),
        ),
    ],
    ids=str,
)
def test_bad_arguments_are_named(h200: Probe, words: dict[str, Any], message: str) -> None:
    outcome = h200("attention", **words)
    assert outcome.error == message
    assert not outcome.launches
