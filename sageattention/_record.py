"""What this wheel is: its stamped record, and whether that fits a machine. Needs the standard library alone."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from sageattention import _dispatch
from sageattention._machine import Machine

NATIVE = Path(__file__).parent / "_native"


@dataclass(frozen=True)
class Record:
    """``_native/record.json``: the wheel's own facts, written when it was made."""

    distribution: str
    version: str
    build_tag: str
    torch: str
    """Release it was built against, e.g. ``2.8.0``; any patch release of the same minor will do."""
    torch_requirement: str
    cuda: str
    python: str
    platform: str
    archs: Tuple[str, ...]
    min_driver: str
    instances: Mapping[str, Tuple[str, ...]]
    source_digest: str

    @property
    def torch_minor(self) -> Tuple[int, ...]:
        return _dispatch.version(self.torch)[:2]

    @property
    def title(self) -> str:
        """``sageattention 2.2.0 for torch 2.8 and CUDA 12.8``."""
        return f"{self.distribution} {self.version} for torch {_dotted(self.torch_minor)} and CUDA {self.cuda}"


def parse(text: str) -> Record:
    """Read record.json. Raises ValueError for anything that is not one of format 1."""
    try:
        document: Dict[str, Any] = json.loads(text)
        if document["format"] != 1:
            raise ValueError(f"record format {document['format']}, and this package reads format 1")
        return Record(
            **{key: str(document[key]) for key in _TEXTS},
            archs=tuple(document["archs"]),
            instances={arch: tuple(names) for arch, names in document["instances"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"damaged record: {error!r}") from None


_TEXTS = (
    "distribution",
    "version",
    "build_tag",
    "torch",
    "torch_requirement",
    "cuda",
    "python",
    "platform",
    "min_driver",
    "source_digest",
)


def read(folder: Path = NATIVE) -> Optional[Record]:
    """The record of this installation, or None where there is none (a source tree that was never built)."""
    try:
        return parse((folder / "record.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def misfit(
    record: Optional[Record], torch_version: Optional[str], torch_cuda: Optional[str], machine: Machine
) -> Optional[str]:
    """One sentence that says why this wheel cannot work here and which one would, or None if it can.

    ``torch_version`` is None where PyTorch is not installed, ``torch_cuda`` where its build has no CUDA.
    """
    if record is None:
        return (
            "this copy of sageattention has no native library (it is a source tree that was not built); install a "
            "wheel, or build one with `python -m buildtool build`"
        )
    if torch_version is None:
        return (
            f"this is {record.title}, and PyTorch is not installed here; install it with `pip install {_pin(record)}`"
        )
    if _dispatch.version(torch_version)[:2] != record.torch_minor:
        return (
            f"this is {record.title}, and this machine has torch {torch_version}; install "
            f"{_wheel_for(torch_version, torch_cuda)}, or the torch it is for with `pip install {_pin(record)}`"
        )
    if torch_cuda is None:
        return (
            f"this is {record.title}, and torch {torch_version} here is a build without CUDA; install a CUDA build of "
            f"torch {_dotted(record.torch_minor)}"
        )
    lacking = [gpu for gpu in machine.gpus if _dispatch.arch_for(gpu.capability, record.archs) is None]
    if lacking and len(lacking) == len(machine.gpus):
        return no_code(record, lacking[0].name, lacking[0].capability)
    return None


def no_code(record: Record, name: str, capability: Tuple[int, int]) -> str:
    """The sentence for a GPU that this wheel has no cubin for."""
    return (
        f"this is {record.title} with code for {', '.join(record.archs)}, and the GPU here is {name} (compute "
        f"capability {_dotted(capability)}); {_dispatch.remedy(capability)}"
    )


def notes(record: Record, torch_cuda: Optional[str], machine: Machine) -> List[str]:
    """What is worth knowing though it is no misfit: an old driver, GPUs that are left out, no GPU at all."""
    found = []
    if not machine.gpus:
        found.append("no NVIDIA GPU is visible; the package imports, and its functions need one")
    if machine.driver and _dispatch.version(machine.driver) < _dispatch.version(record.min_driver):
        found.append(f"driver {machine.driver} is older than {record.min_driver}, which CUDA {record.cuda} code needs")
    lacking = [gpu for gpu in machine.gpus if _dispatch.arch_for(gpu.capability, record.archs) is None]
    if len(lacking) < len(machine.gpus):
        found.extend(no_code(record, gpu.name, gpu.capability) for gpu in lacking)
    if torch_cuda is not None and torch_cuda != record.cuda:
        found.append(
            f"torch here is built for CUDA {torch_cuda} and this wheel's code by CUDA {record.cuda}: that works"
        )
    return found


def _pin(record: Record) -> str:
    return f'"{record.torch_requirement}"'


def _wheel_for(torch_version: str, torch_cuda: Optional[str]) -> str:
    """``the wheel for torch 2.9 and CUDA 12.8, build tag 291.128, cp312 linux (index channel cu128/torch2.9)``."""
    minor = _dotted(_dispatch.version(torch_version)[:2])
    python = f"cp{sys.version_info[0]}{sys.version_info[1]} {platform.system().lower()} {platform.machine().lower()}"
    if torch_cuda is None:
        return f"the wheel for torch {minor} ({python}), which needs a CUDA build of torch"
    return (
        f"the sageattention wheel for torch {minor} and CUDA {torch_cuda} ({python}; index channel "
        f"cu{torch_cuda.replace('.', '')}/torch{minor})"
    )


def _dotted(numbers: Tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
