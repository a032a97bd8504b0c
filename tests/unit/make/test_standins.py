from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.make.standins import Imports, assembler, plan, version_script

CUBLAS = ("libcublas.so.12", "libcublas.so.12")


def test_only_missing_vendor_libraries_get_a_standin() -> None:
    libraries = {
        "libtorch_cuda.so": Imports(
            ("libcublas.so.12", "libcudart.so.12", "libcudnn.so.9", "libc10.so", "libm.so.6"),
            {
                "cublasCreate_v2": CUBLAS,
                "cudaMalloc": ("libcudart.so.12", "libcudart.so.12"),
                "cudnnCreate": ("", ""),
                "_ZN3c105ErrorE": ("", ""),
                "cosf": ("libm.so.6", "GLIBC_2.2.5"),
            },
        ),
        "libc10.so": Imports(("libm.so.6",)),
    }
    assert plan(libraries, ["libcudart.so.12"]) == {
        "libcublas.so.12": {"": ["cudnnCreate"], "libcublas.so.12": ["cublasCreate_v2"]},
        "libcudnn.so.9": {"": []},
    }


def test_a_library_named_without_symbols_still_gets_a_standin() -> None:
    assert plan({"libtorch.so": Imports(("libnccl.so.2",))}, []) == {"libnccl.so.2": {"": []}}


@given(st.dictionaries(st.from_regex(r"v[0-9]{1,3}", fullmatch=True), st.lists(st.just("cuA"), min_size=1)))
def test_version_script_has_one_node_a_version(versions: dict[str, list[str]]) -> None:
    script = version_script(versions)
    assert (script or "").count("global:") == len(versions)


def test_assembler_defines_every_symbol_and_refuses_unknown_machines() -> None:
    text = assembler(["cuA", "ncclB"], "x86_64")
    assert ".globl cuA" in text
    assert "ncclB:" in text
    assert "$999" in text
    with pytest.raises(KeyError):
        assembler([], "riscv")
