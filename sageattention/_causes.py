"""Error texts that users of CUDA extension wheels paste, as data: what they mean and what cures them.

Standard library alone: the doctor, the import guard and the build tool read this table. Order matters: the first row
whose pattern occurs in the text is the answer, so narrower rows stand first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Cause:
    """``code`` names the row; ``pattern`` is searched, ignoring case, with ``.`` matching newlines too."""

    code: str
    pattern: str
    cause: str
    cure: str


CAUSES: Tuple[Cause, ...] = (
    Cause(
        "cxx11-abi",
        r"undefined symbol: _ZN\S*(RKSs|ERKSs|SsE?\b|__cxx11)",
        "the library was compiled against another PyTorch build: the symbol differs in how C++ strings are laid out "
        "(the cxx11 ABI) or in its signature",
        "install the wheel for exactly this torch release and CUDA, from the channel that names both",
    ),
    Cause(
        "undefined-symbol",
        r"undefined symbol|symbol not found|the specified procedure could not be found",
        "the library was compiled against another PyTorch release than the one installed",
        "install the wheel for the installed torch release, or the torch release that the wheel is for",
    ),
    Cause(
        "dll-init",
        r"dynamic link library \(DLL\) initialization routine failed",
        "a DLL of another PyTorch release or CUDA version was loaded in its place: the wheel and torch do not match",
        "install the wheel for the installed torch release and CUDA",
    ),
    Cause(
        "dll-missing",
        r"DLL load failed|the specified module could not be found",
        "a DLL that the library needs is not there: most often torch is a CPU build or of another release, or the "
        "Visual C++ runtime is missing",
        "check that torch is the CUDA build that the wheel is for, then install the Visual C++ 2015-2022 runtime (x64)",
    ),
    Cause(
        "glibc",
        r"version `?(GLIBC|GLIBCXX|CXXABI)_[\d.]+'? not found",
        "the library was linked on a newer Linux than this one: the C or C++ runtime here is too old for it",
        "install a manylinux_2_28 wheel (runs from glibc 2.28 on), or build the cell on this machine",
    ),
    Cause(
        "libcudart",
        r"(libcudart|libcublas|libnvrtc|libcusparse|libcudnn)\S*: cannot open shared object file",
        "the library or torch was built for another CUDA major version than the CUDA libraries installed here",
        "install the torch build and the wheel of one CUDA version, both from the same channel",
    ),
    Cause(
        "libtorch",
        r"(libc10|libtorch)\w*(\.so)?\S*: cannot open shared object file",
        "the PyTorch installed here is a build without CUDA, or its libraries cannot be found",
        "install a CUDA build of torch, of the release that the wheel is for",
    ),
    Cause(
        "no-kernel",
        r"no kernel image is available|cudaErrorNoKernelImageForDevice|CUDA_ERROR_NO_BINARY_FOR_GPU|no kernels for GPU",
        "the wheel has no code for this GPU's compute capability",
        "install a wheel whose architecture list has this GPU's (`python -m sageattention` prints both)",
    ),
    Cause(
        "sm-disabled",
        r"SM\d+ kernel is not available",
        "the installed build left out the module for this GPU, so a dispatch found nothing to call",
        "uninstall it, and install a wheel whose architecture list has this GPU's",
    ),
    Cause(
        "unsupported-arch",
        r"Unsupported CUDA architecture",
        "the installed build's dispatch does not know this GPU",
        "install a wheel of this project, whose dispatch table covers compute capability 8.0 to 12.1",
    ),
    Cause(
        "driver-too-old",
        r"CUDA driver version is insufficient|UNSUPPORTED_PTX_VERSION|unsupported toolchain|"
        r"NVIDIA driver on your system is too old",
        "the NVIDIA driver is older than this CUDA version needs",
        "update the driver (525.60.13 or newer for CUDA 12, 580.65.06 for CUDA 13), or use a wheel and torch of an "
        "older CUDA",
    ),
    Cause(
        "cuda-mismatch",
        r"detected CUDA version \([\d.]+\) mismatches",
        "pip is compiling from source with a CUDA toolkit of another version than torch's",
        "install a wheel instead of the source distribution: it needs no CUDA toolkit",
    ),
    Cause(
        "cxx20",
        r"(requires|need) C\+\+20|C\+\+20 (or later|support) (is )?required|#error C\+\+20",
        "pip is compiling from source as C++17, and the headers of this torch (2.13 or newer) need C++20",
        "install a wheel for this torch release",
    ),
    Cause(
        "build-isolation",
        r"(get_requires_for_build_wheel|pyproject_hooks|metadata_directory|build_wheel|\[end of output\]).*"
        r"No module named '?torch|No module named '?torch.*(pip|build backend|subprocess|get_requires)",
        "pip is compiling a source distribution in an isolated environment, where torch is not installed",
        "install a wheel: no wheel on the page fits this Python, torch or platform, so pip fell back to the source",
    ),
    Cause(
        "no-torch",
        r"No module named '?torch'?",
        "PyTorch is not installed in this environment",
        "install torch first, then the wheel for that release",
    ),
    Cause(
        "triton-mismatch",
        r"AttrsDescriptor|triton\.compiler|triton\.backends|triton_key",
        "the triton installed belongs to another torch release",
        "install the triton that this torch asks for (on Windows the triton-windows of the same minor)",
    ),
    Cause(
        "no-triton",
        r"No module named '?triton'?",
        "triton is not installed; only sageattn_qk_int8_pv_fp16_triton needs it here, other builds of SageAttention "
        "need it everywhere",
        "install triton (on Windows triton-windows), or call sageattn, which does without",
    ),
    Cause(
        "triton-compiler",
        r"Failed to find C compiler|fatal error: Python\.h|tcc.*python3\d+|cannot find -lcuda",
        "triton compiles a small C launcher at run time and finds no C compiler or no Python headers",
        "install gcc and the Python headers (python3-dev), or call sageattn, which needs no triton",
    ),
    Cause(
        "torch-replaced",
        r"Attempting uninstall: torch\b|Successfully uninstalled torch-|- torch==.*\+ torch==",
        "the resolver chose the wheel with the highest build tag and replaced torch to fit it: pip and uv never choose "
        "a wheel by the torch already installed",
        "reinstall the torch you want, then install from the channel for exactly that torch and CUDA",
    ),
    Cause(
        "resolution",
        r"ResolutionImpossible|No solution found when resolving|depend on torch[=><~]",
        "the page offers a wheel of this version for another torch, and the resolver looks at one wheel a version",
        "install from the channel for exactly this torch and CUDA",
    ),
    Cause(
        "wrong-platform",
        r"is not a supported wheel on this platform",
        "the wheel's Python version, system or processor is not this one's",
        "take the wheel whose name has this Python (cp312 for 3.12) and this platform",
    ),
    Cause(
        "yanked",
        r"No matching distribution found for sageattention|from versions: none",
        "the index asked has no sageattention for this Python and platform",
        "point pip at the channel for this torch and CUDA with --extra-index-url",
    ),
    Cause(
        "killed-build",
        r"Killed signal terminated program|nvcc.*(Killed|returned -9)|cicc.*died|out of memory allocating",
        "a compilation from source ran out of memory",
        "install a wheel, or set MAX_JOBS=1 for the build",
    ),
    Cause(
        "bad-dtype",
        r"Input tensors must be in dtype of torch\.float16 or torch\.bfloat16|must all be float16 or all bfloat16",
        "the kernels take float16 and bfloat16 only, and the model passed another type",
        "run the model in float16 or bfloat16",
    ),
    Cause(
        "head-dim",
        r"Unsupported head_dim",
        "another build of SageAttention refuses head dims over 128",
        "install a wheel of this project, which takes head dims up to 256",
    ),
)


def find(text: str) -> Optional[Cause]:
    """The first cause whose pattern occurs in ``text``, or the one that ``text`` quotes, or None."""
    quoted = next((row for row in CAUSES if row.cause in text), None)
    return quoted or next((row for row in CAUSES if re.search(row.pattern, text, re.IGNORECASE | re.DOTALL)), None)
