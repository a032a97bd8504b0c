"""Compile the cubin fixtures of this folder: ``generate.py LIBNVRTC CUDA`` with the libnvrtc.so of that CUDA version.

Run once per version, in a process of its own, since two NVRTC majors in one process disturb each other. For 12.8 the
library comes from ``nvidia-cuda-nvrtc-cu12==12.8.93``, for 13.0 from ``nvidia-cuda-nvrtc==13.0.88`` (with its folder on
LD_LIBRARY_PATH, where it looks for libnvrtc-builtins).
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

TINY = """extern "C" __global__ void %s(float* x, int n) {
  __shared__ float tile[64];
  tile[threadIdx.x & 63] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = tile[(threadIdx.x + 1) & 63] * n;
}
"""
SPILL = """extern "C" __global__ void __launch_bounds__(1024) spill(float* x, int n) {
  float a[32];  // stored to at an index known only at run time: lives in local memory
#pragma unroll
  for (int i = 0; i < 32; i++) a[i] = x[i];
#pragma unroll 1
  for (int k = 0; k < n; k++) a[k * n & 31] += x[k];
  x[0] = a[n & 31];
}
"""
CALL = """extern "C" __device__ float elsewhere(float);
extern "C" __global__ void tiny_d64(float* x) { x[0] = elsewhere(x[1]); }
"""
SOURCES = {"spill": SPILL, "pair": TINY % "tiny_d64" + TINY % "another", "call": CALL}
FIXTURES: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {
    "12.8": [
        ("tiny_d64", "sm_80", ()), ("tiny_d128", "sm_80", ()), ("tiny_d64", "sm_86", ()), ("tiny_d64", "sm_90", ()),
        ("tiny_d64", "sm_90a", ()), ("tiny_d64", "sm_120a", ()), ("tiny_d64", "sm_120", ()), ("spill", "sm_80", ()),
        ("lines", "sm_80", ("--generate-line-info",)), ("pair", "sm_80", ()),
        ("call", "sm_80", ("--relocatable-device-code=true",)),
    ],
    "13.0": [("tiny_d64", "sm_90a", ()), ("tiny_d64", "sm_90", ()), ("tiny_d64", "sm_120f", ())],
}  # fmt: skip


def compile_cubin(nvrtc: ctypes.CDLL, source: str, options: tuple[str, ...]) -> bytes:
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None) == 0
    argv = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    assert nvrtc.nvrtcCompileProgram(program, len(options), argv) == 0
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, image)
    return image.raw


def main(library: str, cuda: str) -> None:
    nvrtc = ctypes.CDLL(library)
    folder = Path(__file__).resolve().parent
    os.chdir("/")  # line information names the working directory
    for name, arch, options in FIXTURES[cuda]:
        source = SOURCES.get(name) or TINY % name
        image = compile_cubin(nvrtc, source, (f"--gpu-architecture={arch}", *options))
        (folder / f"{name}.{arch}.cu{cuda.replace('.', '')}.cubin").write_bytes(image)


if __name__ == "__main__":
    main(*sys.argv[1:])
