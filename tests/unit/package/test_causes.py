"""Error texts as users pasted them (public issue threads named beside each), and the cause that must be found."""

from __future__ import annotations

import re

import pytest

from sageattention import _causes, _doctor

REAL = [
    # thu-ml/SageAttention#294
    (
        "cxx11-abi",
        "ImportError: /home/anaconda3/envs/comfyui_py311/lib/python3.11/site-packages/sageattention/"
        "_fused.cpython-311-x86_64-linux-gnu.so: undefined symbol: _ZN3c106detail23torchInternalAssertFailEPKcS2_jS2_"
        "RKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
    ),
    # thu-ml/SageAttention#216
    (
        "cxx11-abi",
        "_fused.cpython-310-x86_64-linux-gnu.so: undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_jRKSs",
    ),
    # woct0rdho/SageAttention#49
    (
        "dll-init",
        "ImportError: DLL load failed while importing _fused: A dynamic link library (DLL) initialization routine "
        "failed.",
    ),
    # wildminder/AI-windows-whl#18
    (
        "dll-missing",
        "Can't import SageAttention: DLL load failed while importing _fused: The specified module could not be found",
    ),
    # Comfy-Org/ComfyUI#7907
    (
        "undefined-symbol",
        "Can't import SageAttention: DLL load failed while importing _fused: The specified procedure could not be "
        "found.",
    ),
    # thu-ml/SageAttention#206
    (
        "glibc",
        "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by /home/u/anaconda3/envs/sage/lib/"
        "python3.12/site-packages/sageattention/_fused.cpython-312-x86_64-linux-gnu.so)",
    ),
    # Dao-AILab/flash-attention#1762
    (
        "glibc",
        'File "/usr/local/lib/python3.10/site-packages/flash_attn/flash_attn_interface.py", line 15, in <module>\n'
        "    import flash_attn_2_cuda as flash_attn_gpu\nImportError: /lib/x86_64-linux-gnu/libc.so.6: version "
        "`GLIBC_2.32' not found (required by /usr/local/lib/python3.10/site-packages/"
        "flash_attn_2_cuda.cpython-310-x86_64-linux-gnu.so)",
    ),
    # huggingface/diffusers#13043
    (
        "no-kernel",
        "Error no kernel image is available for execution on the device at line 73 in file /src/csrc/ops.cu",
    ),
    # Comfy-Org/ComfyUI#9671
    (
        "sm-disabled",
        "Error running sage attention: SM89 kernel is not available. Make sure you GPUs with compute capability 8.9., "
        "using pytorch attention instead.",
    ),
    # woct0rdho/SageAttention#50
    (
        "sm-disabled",
        "Error running sage attention: SM80 kernel is not available. make sure you GPUs with compute capability 8.0 or "
        "higher., using pytorch attention instead.",
    ),
    # Dao-AILab/flash-attention#2863
    ("cxx20", "#error C++20 or later compatible compiler is required to use ATen"),
    # kairos-agi/kairos#26
    ("undefined-symbol", "ImportError: undefined symbol: _ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_ib"),
    # woct0rdho/SageAttention#88
    ("no-kernel", "CUDA error: no kernel image is available for execution on the device"),
    # thu-ml/SageAttention#173
    ("sm-disabled", "AssertionError: SM89 kernel is not available. Make sure you GPUs with compute capability 8.9."),
    # thu-ml/SageAttention#212
    (
        "cuda-mismatch",
        "RuntimeError: The detected CUDA version (12.0) mismatches the version that was used to compile PyTorch "
        "(11.8). Please make sure to use the same CUDA versions.",
    ),
    # thu-ml/SageAttention#181, LykosAI/StabilityMatrix#1416
    (
        "build-isolation",
        'File "setuptools/build_meta.py", line 334, in get_requires_for_build_wheel\n    return self.'
        "_get_build_requires(config_settings, requirements=[])\nModuleNotFoundError: No module named 'torch'",
    ),
    # deepbeepmeep/Wan2GP#1263
    ("triton-mismatch", "ImportError: cannot import name 'AttrsDescriptor' from 'triton.compiler.compiler'"),
    # pip replacing torch to fit the highest build tag of a flat page
    (
        "torch-replaced",
        "Attempting uninstall: torch\n    Found existing installation: torch 2.8.0\n    Uninstalling torch-2.8.0:\n"
        "      Successfully uninstalled torch-2.8.0\nSuccessfully installed sageattention-2.2.0 torch-2.11.0",
    ),
    # uv on the same page
    (
        "resolution",
        "No solution found when resolving dependencies: Because all versions of sageattention depend on torch>=2.11",
    ),
]
MADE = [
    ("resolution", "ERROR: ResolutionImpossible: for help visit the documentation"),
    ("libcudart", "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"),
    ("libtorch", "OSError: libc10_cuda.so: cannot open shared object file: No such file or directory"),
    ("no-torch", "ModuleNotFoundError: No module named 'torch'"),
    ("no-triton", "ModuleNotFoundError: No module named 'triton'"),
    ("triton-compiler", "RuntimeError: Failed to find C compiler. Please specify via CC environment variable."),
    ("driver-too-old", "CUDA driver version is insufficient for CUDA runtime version"),
    (
        "wrong-platform",
        "ERROR: sageattention-2.2.0-cp312-cp312-linux_x86_64.whl is not a supported wheel on this platform.",
    ),
    ("unsupported-arch", "ValueError: Unsupported CUDA architecture: sm87"),
    ("bad-dtype", "AssertionError: Input tensors must be in dtype of torch.float16 or torch.bfloat16"),
    ("head-dim", "ValueError: Unsupported head_dim: 160"),
    ("cxx20", "#error C++20 or later compatible compiler is required to use PyTorch."),
    ("killed-build", "x86_64-linux-gnu-g++: fatal error: Killed signal terminated program cc1plus"),
    ("yanked", "ERROR: No matching distribution found for sageattention==2.2.0"),
    ("undefined-symbol", "libsageattention.so: undefined symbol: aoti_torch_something"),
    ("no-kernel", "no kernels for GPU 0 (NVIDIA B200, compute capability 10.0); this wheel has sm_80"),
]


@pytest.mark.parametrize(("code", "text"), REAL + MADE)
def test_a_text_gets_its_cause(code: str, text: str) -> None:
    found = _causes.find(text)
    assert found is not None
    assert found.code == code
    assert _doctor.explain(text) == {"code": code, "cause": found.cause, "cure": found.cure}


def test_every_row_is_reached_and_well_formed() -> None:
    codes = [row.code for row in _causes.CAUSES]
    assert len(set(codes)) == len(codes)
    assert set(codes) == {code for code, _ in REAL + MADE}
    for row in _causes.CAUSES:
        re.compile(row.pattern)
        assert _causes.find(f"ImportError: sageattention: it did not load: {row.cause}; see above") is row
        assert row.cure
        assert not row.cause.endswith(".")


def test_an_unknown_text_is_not_answered_by_a_guess() -> None:
    assert _causes.find("Segmentation fault (core dumped)") is None
    assert _doctor.explain("Segmentation fault (core dumped)")["code"] == "unknown"
    assert _causes.find("") is None
