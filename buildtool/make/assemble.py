"""From cubins and a binding to the wheel of one cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from buildtool.make import wheel
from buildtool.make.cubins import archive
from buildtool.plan.cells import Cell

RECORD_FORMAT = 1


def record(cell: Cell, instances: Mapping[str, list[str]], source_digest: str) -> dict[str, Any]:
    """The stamped record: what this wheel is (docs/architecture.md). ``instances`` maps architecture to entry names."""
    combo, pins = cell.combo, cell.pins
    return {
        "format": RECORD_FORMAT,
        "distribution": combo.package,
        "version": cell.version,
        "build_tag": cell.build_tag,
        "torch": combo.torch,
        "torch_requirement": cell.torch_requirement,
        "cuda": combo.cuda,
        "python": combo.python,
        "platform": combo.platform,
        "archs": list(cell.archs),
        "min_driver": cell.min_driver,
        "instances": {arch: sorted(names) for arch, names in instances.items()},
        "pins": {
            "torch": pins.torch,
            "nvrtc": pins.nvrtc,
            "runtime_headers": pins.runtime_headers,
            "crt_headers": pins.crt_headers,
        },
        "cxx_standard": cell.cxx_standard,
        "source_digest": source_digest,
    }


def native_files(
    cell: Cell, kernels: Mapping[str, Mapping[str, Path]], binding: Path, source_digest: str
) -> dict[str, bytes]:
    """The contents of ``_native/`` by relative path. ``kernels`` maps architecture → entry name → cubin file."""
    names = {arch: sorted(entries) for arch, entries in kernels.items()}
    stamp = json.dumps(record(cell, names, source_digest), sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    files = {binding.name: binding.read_bytes(), "record.json": stamp.encode()}
    for arch, entries in kernels.items():
        files[f"cubins/{arch}.ar"] = archive({f"{name}.cubin": path.read_bytes() for name, path in entries.items()})
    return files


def pure_wheel(package: Path, output: Path) -> Path:
    """Build the package without its native files through hatchling; returns the wheel's path."""
    from hatchling.builders.wheel import WheelBuilder  # noqa: PLC0415 - a second of imports that planning does not need

    return Path(next(iter(WheelBuilder(str(package)).build(directory=str(output), versions=["standard"]))))


def make_wheel(package: Path, cell: Cell, added: Mapping[str, bytes], output: Path) -> Path:
    """Write the cell's wheel into the folder ``output``: the staged package, and files by archive path."""
    pure = pure_wheel(package, output / "pure")
    target = output / cell.wheel
    wheel.finish(pure, target, tag=tag_of(cell), build_tag=cell.build_tag, added=added, timestamp=wheel.epoch())
    return target


def tag_of(cell: Cell) -> str:
    """The compatibility tag in a cell's wheel name, e.g. ``cp312-cp312-linux_x86_64``."""
    return "-".join(cell.wheel.removesuffix(".whl").split("-")[-3:])
