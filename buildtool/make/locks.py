"""Committed locks: the exact files, by hash, of one (torch, CUDA) pair's toolchain. No index is named in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make.runner import Runner, base_environment
from buildtool.plan.cells import Cell

FOLDER = Path(__file__).parent.parent / "locks"
VENDOR = re.compile(r"nvidia-|cuda-|triton|torch==")
"""Lock entries that are torch, NVIDIA's libraries or Triton."""
_FLAGS = ("--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header", "--generate-hashes", "--quiet")


def lock_name(cell: Cell) -> str:
    """File name of the cell's lock below ``buildtool/locks``."""
    return f"torch-{cell.combo.torch}-cuda-{cell.combo.cuda}.txt"


def read_lock(cell: Cell, folder: Path = FOLDER) -> str:
    """The lock of the cell's torch and CUDA. Raises ToolchainError if none is committed."""
    path = folder / lock_name(cell)
    command = f"python -m buildtool lock torch={cell.combo.torch} cuda={cell.combo.cuda}"
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise ToolchainError(f"no lock at {path}: {error.strerror}", command) from error


def resolve(cells: Sequence[Cell], python: str, uv: Path, runner: Runner, scratch: Path) -> str:
    """The text of the lock of these cells, resolved now: their pins, and the pure Python packages that torch imports.

    They are of one torch and CUDA; on Windows the headers are others. ``python`` is the lowest that it must serve.
    """
    cell = cells[0]
    pins = dict.fromkeys(pin for cell in cells for pin in cell.pins.all())
    pinned = _compile(uv, runner, scratch, "\n".join(pins), ["--no-deps"])
    everything = _compile(uv, runner, scratch, cell.pins.torch, ["--universal", "--python-version", python])
    pure = [entry for entry in entries(everything) if not VENDOR.match(entry)]
    head = f"# Written by: python -m buildtool lock torch={cell.combo.torch} cuda={cell.combo.cuda}"
    return "\n".join([head, *sorted(entries(pinned)), *sorted(pure), ""])


def missing_pins(lock: str, cell: Cell) -> list[str]:
    """The pins of the cell for which the lock has no hashes."""
    known = {requirement(entry) for entry in entries(lock)}
    return [pin for pin in dict.fromkeys(cell.pins.all()) if pin not in known]


def entries(lock: str) -> list[str]:
    """The requirements of a lock, each with its hashes, as they stand."""
    return [
        text.strip() for text in re.split(r"\n(?=[A-Za-z0-9])", f"\n{lock}") if text.strip() and text.strip()[0] != "#"
    ]


def hashes(lock: str) -> dict[str, tuple[str, ...]]:
    """``name==version`` → the SHA-256 of every file that the lock accepts for it."""
    return {requirement(entry): tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)) for entry in entries(lock)}


def requirement(entry: str) -> str:
    """``name==version`` of one lock entry."""
    return re.split(r"[\s;\\]", entry.strip(), maxsplit=1)[0]


def _compile(uv: Path, runner: Runner, scratch: Path, text: str, flags: list[str]) -> str:
    source = scratch / "wanted.in"
    source.write_text(text + "\n")
    result = runner.run([uv, "pip", "compile", *_FLAGS, *flags, source], env=base_environment(), timeout=600)
    if result.returncode != 0:
        raise ToolchainError(f"uv cannot lock {text.splitlines()[0]}:\n{result.stderr.strip()}", "check the pins")
    return result.stdout
