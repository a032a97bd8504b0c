from __future__ import annotations

import pytest

from buildtool.errors import ConfigError
from buildtool.plan.instances import for_arch, parse_instances

TEXT = """
[attn]
source = "sage2/attn.cu"
packages = ["sageattention"]
archs = ["sm_80", "sm_90a"]
axes = [{ macro = "D", values = { d64 = 64, d128 = 128 } }, { macro = "CAUSAL", values = { full = 0, causal = 1 } }]
exclude = [{ D = 64, CAUSAL = 1 }]
defines = { STAGES = 3 }

[late]
source = "sage2/late.cu"
packages = ["sageattention"]
archs = ["sm_80"]
cuda_minimum = "12.8"
"""


def test_axes_multiply_less_what_is_excluded() -> None:
    instances = parse_instances(TEXT)
    assert [i.name for i in instances] == ["attn_d128_causal", "attn_d128_full", "attn_d64_full", "late"]
    defines = dict(instances[0].defines)
    assert defines == {"STAGES": "3", "D": "128", "CAUSAL": "1", "ENTRY": "attn_d128_causal"}


def test_a_cuda_that_is_too_old_does_without() -> None:
    instances = parse_instances(TEXT)
    assert "late" in {i.name for i in for_arch(instances, "sageattention", "sm_80", "12.10")}
    assert "late" not in {i.name for i in for_arch(instances, "sageattention", "sm_80", "12.6")}
    assert for_arch(instances, "other", "sm_80", "12.8") == ()


def test_every_fault_is_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_instances(
            '[a]\nsource = "a.cu"\npackages = []\n'
            '[b]\nsource = "b.cu"\npackages = []\narchs = []\ncuda_minimum = 12.8\n'
            '[c]\ntypo = 1\n[D]\nsource = "d"\npackages = []\narchs = []\n'
        )
    assert [(fault.key, fault.message.split()[0]) for fault in caught.value.faults] == [
        ("a", "missing"),
        ("b", "cuda_minimum"),
        ("c", "unknown"),
        ("D", "'D'"),
    ]


def test_not_toml() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse_instances("[a")
