"""The GPUs and the driver of this machine, asked of NVML: no CUDA context, no PyTorch, nothing that breaks a fork."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any, Tuple


@dataclass(frozen=True)
class GpuInfo:
    """One GPU as the driver reports it; ``capability`` is CUDA's, e.g. ``(9, 0)``."""

    name: str
    capability: Tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """``driver`` is empty and ``gpus`` too when there is no NVIDIA driver."""

    driver: str = ""
    gpus: Tuple[GpuInfo, ...] = ()


def probe() -> Machine:
    """Ask NVML. Any failure means a machine without (usable) NVIDIA GPUs."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
        if nvml.nvmlInit_v2() != 0:
            return Machine()
    except (OSError, AttributeError):
        return Machine()
    try:
        return _read(nvml)
    except (OSError, AttributeError, ValueError):
        return Machine()
    finally:
        nvml.nvmlShutdown()


def _read(nvml: Any) -> Machine:
    text = ctypes.create_string_buffer(96)
    driver = text.value.decode() if nvml.nvmlSystemGetDriverVersion(text, 96) == 0 else ""
    count = ctypes.c_uint(0)
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    gpus = []
    for index in range(count.value):
        handle = ctypes.c_void_p()
        major, minor = ctypes.c_int(0), ctypes.c_int(0)
        if nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) != 0:
            continue
        if nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)) != 0:
            continue
        name = text.value.decode(errors="replace") if nvml.nvmlDeviceGetName(handle, text, 96) == 0 else "NVIDIA GPU"
        gpus.append(GpuInfo(name, (major.value, minor.value)))
    return Machine(driver, tuple(gpus))
