"""SageAttention: INT8 QK attention with FP16 or FP8 PV, for every NVIDIA GPU from Ampere on.

``from sageattention import sageattn`` and call it where `torch.nn.functional.scaled_dot_product_attention` stood. The
import raises ImportError, with one sentence that says what to install, where this wheel does not fit the machine.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = [
    "__version__",
    "explain",
    "sageattn",
    "sageattn_qk_int8_pv_fp8_cuda",
    "sageattn_qk_int8_pv_fp8_cuda_sm90",
    "sageattn_qk_int8_pv_fp16_cuda",
    "sageattn_qk_int8_pv_fp16_triton",
    "sageattn_varlen",
]


def _is_program() -> bool:
    """Whether this import is the first half of ``python -m sageattention``, which must not need a working torch.

    It is if ``runpy`` asks for it, and no other module.
    """
    frame = sys._getframe(1).f_back  # noqa: SLF001 - who imports this package
    while frame and frame.f_globals.get("__name__", "").startswith("importlib."):
        frame = frame.f_back
    return sys.argv[:1] == ["-m"] and frame is not None and frame.f_globals.get("__name__") == "runpy"


def __getattr__(name: str) -> Any:
    if name in __all__:
        from sageattention import core  # noqa: PLC0415 - see _is_program

        return getattr(core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not _is_program():
    from sageattention.core import (
        __version__,
        explain,
        sageattn,
        sageattn_qk_int8_pv_fp8_cuda,
        sageattn_qk_int8_pv_fp8_cuda_sm90,
        sageattn_qk_int8_pv_fp16_cuda,
        sageattn_qk_int8_pv_fp16_triton,
        sageattn_varlen,
    )
