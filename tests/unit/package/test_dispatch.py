"""The dispatch table: which cubins a GPU takes, which path `sageattn` chooses, what is said where there is none."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.plan.instances import for_arch, parse_instances
from sageattention import _dispatch as dispatch

WHEEL = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_120a")
arch_names = st.builds(
    lambda major, minor, suffix: f"sm_{major}{minor}{suffix}",
    st.integers(8, 12),
    st.integers(0, 9),
    st.sampled_from(["", "a", "f"]),
)
capabilities = st.tuples(st.integers(7, 13), st.integers(0, 9))


@pytest.mark.parametrize(
    ("capability", "arch", "path", "gran", "accum"),
    [
        ((8, 0), "sm_80", "f16", "per_thread", "fp32"),
        ((8, 6), "sm_86", "f16", "per_thread", "fp32"),
        ((8, 9), "sm_89", "f8", "per_thread", "fp32+fp16"),
        ((9, 0), "sm_90a", "f8_sm90", "per_thread", "fp32+fp16"),
        ((12, 0), "sm_120a", "f8", "per_warp", "fp32+fp16"),
    ],
)
def test_sageattn_takes_what_is_documented(
    capability: tuple[int, int], arch: str, path: str, gran: str, accum: str
) -> None:
    choice = dispatch.choose(capability, WHEEL, "12.8", 128)
    assert (choice.arch, choice.path, choice.qk_quant_gran, choice.pv_accum_dtype) == (arch, path, gran, accum)


@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (9, 0), (12, 0)])
def test_head_dims_over_128_go_to_the_fp16_path_everywhere(capability: tuple[int, int]) -> None:
    assert dispatch.choose(capability, WHEEL, "12.8", 128).path == dispatch.choose(capability, WHEEL, "12.8", 1).path
    assert dispatch.choose(capability, WHEEL, "12.8", 129).path == "f16"


def test_an_older_cuda_sums_fp8_products_in_fp32() -> None:
    assert dispatch.choose((8, 9), ("sm_89",), "12.4", 128).pv_accum_dtype == "fp32+fp32"
    assert "fp32+fp16" not in dispatch.paths_of("sm_89", "12.4")["f8"]


@pytest.mark.parametrize(
    ("capability", "archs", "chosen"),
    [
        ((8, 9), ("sm_80", "sm_86"), "sm_86"),
        ((8, 0), ("sm_86", "sm_89"), None),
        ((9, 0), ("sm_90",), "sm_90"),
        ((10, 3), ("sm_100a",), None),
        ((10, 3), ("sm_100f",), "sm_100f"),
        ((12, 1), ("sm_120a",), None),
        ((12, 1), ("sm_120",), "sm_120"),
        ((12, 1), ("sm_120f", "sm_121a"), "sm_121a"),
        ((7, 5), WHEEL, None),
    ],
)
def test_suffixes_are_exact(capability: tuple[int, int], archs: tuple[str, ...], chosen: str | None) -> None:
    assert dispatch.arch_for(capability, archs) == chosen


@given(capabilities, st.lists(arch_names, max_size=6))
def test_the_order_of_a_wheels_list_does_not_matter(capability: tuple[int, int], archs: list[str]) -> None:
    assert dispatch.arch_for(capability, archs) == dispatch.arch_for(capability, archs[::-1])


@given(capabilities, arch_names)
def test_nothing_runs_on_an_older_or_another_major(capability: tuple[int, int], arch: str) -> None:
    digits = arch[3:].rstrip("af")
    runs = dispatch.rank(arch, capability) > 0
    assert not runs or (int(digits[:-1]) == capability[0] and int(digits[-1]) <= capability[1])
    if arch.endswith("a"):
        assert runs == ((int(digits[:-1]), int(digits[-1])) == capability)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.sampled_from(["", "+cu128", "a0.dev1", ".dev2025"]))
def test_versions_are_their_leading_numbers(numbers: list[int], tail: str) -> None:
    assert dispatch.version(".".join(map(str, numbers)) + tail) == tuple(numbers)


def test_a_remedy_names_what_would_do() -> None:
    assert "sm_90a" in dispatch.remedy((9, 0))
    assert "12.8" in dispatch.remedy((12, 0))
    assert "8.0" in dispatch.remedy((7, 5))
    assert "sm_130" in dispatch.remedy((13, 0))


def test_a_gpu_without_code_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        dispatch.choose((10, 0), WHEEL, "12.8", 64)


def test_the_table_needs_neither_torch_nor_the_package(root: Path) -> None:
    table = runpy.run_path(str(root / "sageattention/_dispatch.py"))
    assert table["arch_for"]((9, 0), WHEEL) == "sm_90a"


def test_every_architecture_compiled_is_in_the_table(root: Path) -> None:
    file = root / "kernels/instances.toml"
    archs = {
        arch for i in parse_instances(file.read_text("utf-8")) if "sageattention" in i.packages for arch in i.archs
    }
    assert archs
    assert archs <= dispatch.ARCHS.keys()


@pytest.mark.parametrize(("masked", "lse"), [(False, False), (False, True), (True, False)])
def test_every_kernel_that_can_be_asked_for_is_compiled(root: Path, masked: bool, lse: bool) -> None:
    instances = parse_instances((root / "kernels/instances.toml").read_text("utf-8"))
    archs = {arch for i in instances for arch in i.archs if "sageattention" in i.packages}
    for arch in archs:
        names = {i.name for i in for_arch(instances, "sageattention", arch, "13.0")}
        for path, accumulators in dispatch.paths_of(arch, "13.0").items():
            for accumulator in accumulators:
                for head_dim in (d for d in (64, 128, 256) if d <= dispatch.PATHS[path].max_head_dim):
                    for dtype in ("f16", "bf16"):
                        assert dispatch.kernel(path, dtype, head_dim, accumulator, masked, lse) in names, arch


def test_every_architecture_of_the_matrix_runs_somewhere(root: Path) -> None:
    file = root / "matrix.toml"
    text = str(tomllib.loads(file.read_text("utf-8")))
    named = {arch for arch in dispatch.ARCHS if f"'{arch}'" in text}
    assert named
    for arch in named:
        assert any(dispatch.rank(arch, capability) for capability in dispatch.GPUS), arch
