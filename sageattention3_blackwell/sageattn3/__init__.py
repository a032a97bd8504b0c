"""SageAttention 3: attention in FP4 (NVFP4) for consumer Blackwell GPUs, compute capability 12.x.

``from sageattn3 import sageattn3_blackwell``. The import raises ImportError, with one sentence that says what to
install, where this wheel does not fit the installed torch; it needs no GPU.
"""

from __future__ import annotations

from sageattn3.core import __version__, sageattn3_blackwell

__all__ = ["__version__", "sageattn3_blackwell"]
