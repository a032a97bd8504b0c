"""Generated files that are committed: written whole, or compared with what would be written."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from buildtool.console import Console
from buildtool.errors import StaleError


def write_or_check(root: Path, files: Mapping[str, str], console: Console, *, check: bool, again: str) -> None:
    """Bring ``files`` (path below ``root`` → text) up to date; with ``check`` only compare.

    Raises StaleError naming every file that differs, with ``again`` as the command that updates them.
    """
    stale = []
    for path, text in files.items():
        current = _read(root / path)
        if current == text:
            console.detail(f"{path}: up to date")
        elif check:
            stale.append(path)
            for line in difflib.unified_diff(
                (current or "").splitlines(),
                text.splitlines(),
                f"{path} (committed)",
                f"{path} (generated)",
                lineterm="",
            ):
                console.info(line)
        else:
            _write(root / path, text)
            console.info(f"{path}: written")
    if stale:
        raise StaleError(f"out of date: {', '.join(stale)}", f"run `{again}` and commit the result")


def stale(root: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """The paths among ``files`` (path below ``root`` → text) that hold something else, or are not there."""
    return tuple(path for path, text in files.items() if _read(root / path) != text)


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.write_bytes(text.encode("utf-8"))
    if path.exists():
        staged.chmod(path.stat().st_mode)
    staged.replace(path)
