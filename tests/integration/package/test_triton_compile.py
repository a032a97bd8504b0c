"""The Triton kernels compile, with the Triton installed, for every kind of GPU it knows. Needs no GPU."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs PyTorch; a build for CPU will do")
pytestmark = [
    pytest.mark.integration,
    # Not imported here: test_triton.py wants to be the first, and to have the interpreter.
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton"),
]

CAPABILITIES = [80, 89, 90, 100, 120]  # 8.6 has the tiles and the shared memory of 8.9
POINTERS = {
    "x": "fp16",
    "mean": "fp32",
    "x8": "i8",
    "scale": "fp32",
    "shift": "fp32",
    "q8": "i8",
    "k8": "i8",
    "v": "fp16",
    "q_scale": "fp32",
    "k_scale": "fp32",
    "mask": "u8",
    "out": "fp16",
    "lse": "fp32",
}


def compile_kernel(kernel: Any, capability: int, constants: dict[str, Any], warps: int, stages: int, dtype: str) -> Any:
    """A compiled kernel whose pointers are those above and whose other arguments are 64-bit."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            continue
        kind = POINTERS.get(name, "i64")
        signature[name] = f"*{dtype if kind == 'fp16' else kind}" if name in POINTERS else kind
    if "sm_scale" in signature:
        signature["sm_scale"] = "fp32"
    parameters = inspect.signature(ASTSource.__init__).parameters
    if "constexprs" in parameters:  # from Triton 3.3
        signature.update(dict.fromkeys(constants, "constexpr"))
        source = ASTSource(kernel, {name: signature[name] for name in kernel.arg_names}, constexprs=constants)
    else:
        source = ASTSource(kernel, signature, constants=constants)
    return triton.compile(
        source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps, "num_stages": stages}
    )


def compile_all(capability: int) -> None:
    """Both kernels for one capability, in the variants that differ most."""
    from sageattention import _triton

    shared = {80: 163, 89: 99, 90: 227, 100: 227, 120: 99}[capability] * 1024
    for padded, tile in _triton.tiles(capability // 10).items():
        constants = {"BLOCK": tile.queries, "BLOCK_D": padded, "SUBTRACT": False, "SHIFT": True}
        compile_kernel(_triton.quantize_kernel, capability, constants, 4, 3, "bf16")
        for causal, mask, lse, dtype in ((False, 0, False, "fp16"), (True, 1, True, "bf16")):
            constants = {
                "BLOCK_M": tile.queries,
                "BLOCK_N": tile.keys,
                "BLOCK_D": padded,
                "KEY_BLOCK": _triton.KEY_BLOCK,
                "CAUSAL": causal,
                "MASK": mask,
                "SMOOTH": lse,
                "LSE": lse,
            }
            compiled = compile_kernel(_triton.attention_kernel, capability, constants, tile.warps, tile.stages, dtype)
            assert compiled.asm["cubin"]
            assert compiled.metadata.shared <= shared, (capability, padded, compiled.metadata.shared)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernels_compile(capability: int, root: Path, tmp_path: Path) -> None:
    done = subprocess.run(  # its own process: the interpreter and its compiler cannot share one
        [sys.executable, __file__, str(root), str(capability)],
        capture_output=True,
        text=True,
        timeout=600,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "TRITON_CACHE_DIR": str(tmp_path)},
        check=False,
    )
    if "RuntimeError: Triton" in done.stderr and "cannot compile for compute capability" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])  # the package's own refusal
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    package = types.ModuleType("sageattention")
    package.__path__ = [f"{sys.argv[1]}/sageattention"]
    sys.modules["sageattention"] = package
    importlib.import_module("sageattention._triton")
    compile_all(int(sys.argv[2]))
