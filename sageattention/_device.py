"""What serves a GPU: the wheel's record, and for each device the path, granularity and accumulator that dispatch finds.

Found once for each device and kept; `torch.compile` takes what is found for a constant.
"""

from __future__ import annotations

import functools
from typing import Tuple

from sageattention import _native

# First of all: a wheel that does not fit says so here, and the operators exist from here on.
RECORD = _native.load()

import torch  # noqa: E402

from sageattention import _dispatch, _record  # noqa: E402

LIMIT = _dispatch.PATHS["f16"].max_head_dim
FP8_LIMIT = _dispatch.PATHS["f8"].max_head_dim
Options = Tuple[str, str, str]
"""Path, granularity and accumulator."""


def index(q: torch.Tensor) -> int:
    """The number of q's device."""
    own = q.device.index
    return torch.cuda.current_device() if own is None else own


@functools.lru_cache(maxsize=None)
def capability(index: int) -> _dispatch.Capability:
    """The compute capability of a GPU. Raises RuntimeError, in one sentence, if this wheel has no code for it."""
    found = torch.cuda.get_device_capability(index)
    if _dispatch.arch_for(found, RECORD.archs) is None:
        raise RuntimeError("sageattention: " + _record.no_code(RECORD, torch.cuda.get_device_name(index), found))
    return found


@torch.compiler.assume_constant_result
def choices(index: int) -> Tuple[Options, Options, Options]:
    """What `sageattn` takes up to the FP8 paths' largest head dim, with Q and K quantized and not; and above it."""
    return _cached_choices(index)


@functools.lru_cache(maxsize=None)
def _cached_choices(index: int) -> Tuple[Options, Options, Options]:
    def options(size: int, quantized_qk: bool) -> Options:
        choice = _dispatch.choose(capability(index), RECORD.archs, RECORD.cuda, size, quantized_qk)
        return choice.path, choice.qk_quant_gran, choice.pv_accum_dtype

    return options(FP8_LIMIT, True), options(FP8_LIMIT, False), options(LIMIT, True)


@torch.compiler.assume_constant_result
def fp8(index: int) -> Tuple[str, Tuple[str, ...]]:
    """The FP8 path of a GPU and its accumulators. Raises RuntimeError if it has none."""
    return _cached_fp8(index)


@functools.lru_cache(maxsize=None)
def _cached_fp8(index: int) -> Tuple[str, Tuple[str, ...]]:
    major, minor = capability(index)
    arch = _dispatch.arch_for((major, minor), RECORD.archs)
    for path, accumulators in _dispatch.paths_of(str(arch), RECORD.cuda).items():
        if path != "f16":
            return path, accumulators
    raise RuntimeError(
        f"the FP8 kernels need tensor cores with FP8, and {torch.cuda.get_device_name(index)} (compute capability "
        f"{major}.{minor}) runs this wheel's {arch} code; sageattn_qk_int8_pv_fp16_cuda runs here"
    )
