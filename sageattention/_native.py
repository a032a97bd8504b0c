"""Loads the native library, once, and turns every way that can fail into an ImportError of one sentence."""

from __future__ import annotations

import functools
import os

from sageattention import _causes, _machine, _record


@functools.lru_cache(maxsize=None)
def load() -> _record.Record:
    """Load ``_native/libsageattention`` into torch, register its cubins and return what this wheel is.

    Raises ImportError and nothing else.
    """
    try:
        record = _record.read()
    except ValueError as error:
        raise ImportError(f"sageattention: {error}; reinstall the wheel") from None
    try:
        import torch  # noqa: PLC0415 - the record is read first, so that a missing torch gets its sentence too
    except (ImportError, OSError) as error:
        sentence = _record.misfit(record, None, None, _machine.Machine())
        if record is not None and getattr(error, "name", None) != "torch":
            sentence = f"this is {record.title}, and the PyTorch here does not import; reinstall that first"
        raise ImportError(f"sageattention: {sentence} ({error})") from None
    sentence = _record.misfit(record, torch.__version__, torch.version.cuda, _machine.probe())
    if sentence is not None or record is None:
        raise ImportError(f"sageattention: {sentence}")
    library = _record.NATIVE / ("sageattention.dll" if os.name == "nt" else "libsageattention.so")
    try:
        torch.ops.load_library(str(library))
        torch.ops.sageattention.load(str(_record.NATIVE / "cubins"))
    except (OSError, RuntimeError, AttributeError) as error:
        raise ImportError(
            f"sageattention: {record.title} did not load under torch {torch.__version__}: {_reason(str(error))}; "
            "`python -m sageattention doctor` says more"
        ) from None
    return record


def _reason(text: str) -> str:
    """The known cause of a loader's message, or the message's first line where no cause is known."""
    cause = _causes.find(text)
    return cause.cause if cause is not None else text.strip().splitlines()[0]
