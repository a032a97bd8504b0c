"""Loads the native library, once, and says in one sentence why where that fails."""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

NATIVE = Path(__file__).parent / "_native"


@dataclass(frozen=True)
class Record:
    """``_native/record.json``: what this wheel was built for."""

    version: str
    torch: str
    torch_requirement: str
    cuda: str
    archs: Tuple[str, ...]

    @property
    def title(self) -> str:
        """``sageattn3 1.0.0 for torch 2.8 and CUDA 12.8``."""
        return f"sageattn3 {self.version} for torch {minor(self.torch)} and CUDA {self.cuda}"


def minor(version: str) -> str:
    """``"2.8.0+cu128"`` → ``"2.8"``."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def parse(text: str) -> Record:
    """Read record.json. Raises ValueError for anything that is not one of format 1."""
    try:
        document: Dict[str, Any] = json.loads(text)
        if document["format"] != 1:
            raise ValueError(f"record format {document['format']}, and this package reads format 1")
        texts = {key: str(document[key]) for key in ("version", "torch", "torch_requirement", "cuda")}
        return Record(archs=tuple(map(str, document["archs"])), **texts)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged record: {error!r}") from None


def rank(arch: str, capability: Tuple[int, int]) -> int:
    """How well cubins of ``arch`` suit a GPU: 0 not at all, higher is better.

    ``a`` cubins run on their own compute capability alone, ``f`` and plain ones on later minors of the same major too
    (PTX ISA, ".target").
    """
    digits = arch[3:].rstrip("af")
    suffix = arch[3 + len(digits) :]
    gap = capability[1] - int(digits[-1])
    if int(digits[:-1]) != capability[0] or gap < 0 or (suffix == "a" and gap):
        return 0
    return {"a": 300, "f": 200, "": 100}[suffix] - gap


def misfit(record: Optional[Record], torch_version: Optional[str], torch_cuda: Optional[str]) -> Optional[str]:
    """One sentence that says why this wheel cannot be loaded and what would help, or None if it can.

    ``torch_version`` is None where PyTorch is not installed, ``torch_cuda`` where its build has no CUDA.
    """
    if record is None:
        return (
            "this copy has no native library (it is a source tree that was not built); install a wheel, or build one "
            "with `python -m buildtool build package=sageattn3`"
        )
    install = f'`pip install "{record.torch_requirement}"`'
    if torch_version is None:
        return f"this is {record.title}, and PyTorch is not installed here; install it with {install}"
    if minor(torch_version) != minor(record.torch):
        python = (
            f"cp{sys.version_info[0]}{sys.version_info[1]} {platform.system().lower()} {platform.machine().lower()}"
        )
        cuda = f" and CUDA {torch_cuda}" if torch_cuda else ""
        return (
            f"this is {record.title}, and this machine has torch {torch_version}; install the sageattn3 wheel for "
            f"torch {minor(torch_version)}{cuda} ({python}), or the torch it is for with {install}"
        )
    if torch_cuda is None:
        return f"this is {record.title}, and torch {torch_version} here is a build without CUDA"
    return None


def unsupported(record: Record, name: str, capability: Tuple[int, int]) -> Optional[str]:
    """One sentence that says why a GPU cannot run this wheel's kernels, or None if it can."""
    if any(rank(arch, capability) for arch in record.archs):
        return None
    if capability[0] == 12:  # noqa: PLR2004 - compute capability of the GPUs with FP4 mma.sync
        why = (
            f"which needs sm_{capability[0]}{capability[1]}; a sageattn3 wheel made by CUDA 12.9 or newer has sm_120f, "
            "which covers it"
        )
    elif capability[0] in (10, 11):
        why = "whose FP4 units are driven by other instructions (tcgen05) than the ones these kernels use"
    else:
        why = "which has no FP4 tensor cores"
    return (
        f"{record.title} has kernels for {', '.join(record.archs)} and the GPU is {name} (compute capability "
        f"{capability[0]}.{capability[1]}), {why}; use sageattention's sageattn there, or pass "
        'fallback="sageattention"'
    )


@functools.lru_cache(maxsize=None)
def load() -> Record:
    """Load ``_native/libsageattn3`` into torch, register its cubins and return what this wheel is.

    Raises ImportError and nothing else.
    """
    try:
        record: Optional[Record] = parse((NATIVE / "record.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        record = None
    except ValueError as error:
        raise ImportError(f"sageattn3: {error}; reinstall the wheel") from None
    try:
        import torch  # noqa: PLC0415 - the record is read first, so that a missing torch gets its sentence too
    except (ImportError, OSError) as error:
        sentence = misfit(record, None, None)
        if record is not None and getattr(error, "name", None) != "torch":
            sentence = f"this is {record.title}, and the PyTorch here does not import; reinstall that first"
        raise ImportError(f"sageattn3: {sentence} ({error})") from None
    sentence = misfit(record, torch.__version__, torch.version.cuda)
    if sentence is not None or record is None:
        raise ImportError(f"sageattn3: {sentence}")
    library = NATIVE / ("sageattn3.dll" if os.name == "nt" else "libsageattn3.so")
    try:
        torch.ops.load_library(str(library))
        torch.ops.sageattn3.load(str(NATIVE / "cubins"))
    except (OSError, RuntimeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ImportError(
            f"sageattn3: {record.title} did not load under torch {torch.__version__}: {reason}; reinstall the wheel"
        ) from None
    return record
