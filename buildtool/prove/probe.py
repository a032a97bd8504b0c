"""Runs inside the fresh environment, as a program of its own: imports the wheel's package and prints what it found.

``python -I probe.py PACKAGE [--gpu]`` prints one line of JSON. It knows nothing of buildtool and runs on Python 3.9
and up.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

SCHEMA = re.compile(rb"\0?([a-z_][a-z0-9_]*)\((?:Tensor|str|int|float|bool|SymInt)[^\0]{0,2000}?\) -> [^\0]{1,200}\0")
# What the kernels' quantization may cost on normal data, as mean |error| / mean |reference|: 8 bits (FP8 values cost
# about .037; tests/gpu allows the same), and 4.
GPU_BOUNDS = {"sageattention": 0.05, "sageattn3": 0.25}
GPU_CASES = ((1, 4, 1023, 64, False), (2, 4, 512, 128, True), (1, 2, 203, 128, False))


def operators_in(library: bytes) -> set[str]:
    """Names of the operators whose schemas stand in a library."""
    return {name.decode() for name in SCHEMA.findall(library)}


def operators_called(folder: Path, namespace: str) -> set[str]:
    """Names of the operators that the package's Python calls."""
    pattern = re.compile(rf"torch\.ops\.{re.escape(namespace)}\.(\w+)")
    return {name for path in sorted(folder.rglob("*.py")) for name in pattern.findall(path.read_text(encoding="utf-8"))}


def look(package: str) -> dict[str, Any]:
    """Import the package and report where from, with what, and which operators are there."""
    module = importlib.import_module(package)
    torch = importlib.import_module("torch")
    folder = Path(str(module.__file__)).resolve().parent
    registered = {
        name.split("::")[1].split(".")[0]
        for name in torch._C._dispatch_get_all_op_names()  # noqa: SLF001 - the only list there is
        if name.startswith(f"{package}::")
    }
    native = b"".join(path.read_bytes() for path in sorted((folder / "_native").glob(f"*{package}.*")))
    defined = operators_in(native)
    return {
        "file": str(folder),
        "prefix": str(Path(sys.prefix).resolve()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "version": metadata.version(package),
        "record": json.loads((folder / "_native" / "record.json").read_text(encoding="utf-8")),
        "registered": sorted(registered),
        "expected": sorted(defined | operators_called(folder, package)),
        "without_cuda": sorted(
            name
            for name in defined & registered
            if name != "load" and not torch._C._dispatch_has_kernel_for_dispatch_key(f"{package}::{name}", "CUDA")  # noqa: SLF001
        ),
    }


def compute(package: str) -> dict[str, Any]:
    """Run the package's main function on this GPU and compare it with attention in float64."""
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return {"device": "", "cases": []}
    module = importlib.import_module(package)
    attention = module.sageattn if package == "sageattention" else module.sageattn3_blackwell
    cases: list[dict[str, Any]] = []
    for batch, heads, tokens, size, causal in GPU_CASES:
        for dtype in (torch.float16, torch.bfloat16):
            generator = torch.Generator("cuda").manual_seed(tokens)
            q, k, v = (
                torch.randn(batch, heads, tokens, size, device="cuda", dtype=dtype, generator=generator)
                for _ in range(3)
            )
            seen = attention(q.clone(), k.clone(), v.clone(), is_causal=causal).double()
            sdpa = torch.nn.functional.scaled_dot_product_attention
            wanted = sdpa(q.double(), k.double(), v.double(), is_causal=causal)
            of_torch = sdpa(q, k, v, is_causal=causal).double()
            error, torch_error = (
                float((result - wanted).abs().mean() / wanted.abs().mean()) for result in (seen, of_torch)
            )
            shape = [batch, heads, tokens, size]
            case = {"shape": shape, "causal": causal, "dtype": str(dtype), "error": error, "torch_error": torch_error}
            cases.append(case)
    return {
        "device": torch.cuda.get_device_name(),
        "capability": list(torch.cuda.get_device_capability()),
        "driver": _driver(),
        "bound": GPU_BOUNDS[package],
        "cases": cases,
    }


def _driver() -> str:
    """The driver's version, from the library that nvidia-smi asks."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
    except OSError:
        return ""
    text = ctypes.create_string_buffer(96)
    known = nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, 96) == 0
    return text.value.decode() if known else ""


def main(arguments: list[str]) -> None:
    """Print one line of JSON: what was found, or why the import failed."""
    package = arguments[0]
    try:
        report = look(package)
        if "--gpu" in arguments:
            report["gpu"] = compute(package)
    except Exception as error:  # noqa: BLE001 - whatever the package raises is the finding
        report = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(report))  # noqa: T201 - its output is its result


if __name__ == "__main__":
    main(sys.argv[1:])
