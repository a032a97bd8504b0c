"""The output folder: wheels are made and verified beside it and appear in it by one rename, each after its report."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from buildtool.errors import BuildToolError, StaleError
from buildtool.make.store import file_digest, is_alive

_STAGING = ".staging-"
_ABANDONED_SECONDS = 600.0


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A folder on the file system of ``out`` in which a wheel comes to be; removed afterwards."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        sweep(out)
        folder = Path(tempfile.mkdtemp(prefix=f"{_STAGING}{os.getpid()}-", dir=out))
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        yield folder
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report_path(wheel: Path) -> Path:
    """Where the report of a wheel stands: beside it, with ``.json`` for ``.whl``."""
    return wheel.with_suffix(".json")


def publish(wheel: Path, report: Mapping[str, Any], out: Path, *, replace: bool) -> Path:
    """Move a verified wheel and its report from staging into ``out``; returns where the wheel is now.

    A wheel of the same name and bytes stays as it is and gets the new report. Raises StaleError if the bytes differ and
    ``replace`` does not allow it.
    """
    target = out / wheel.name
    if target.exists() and not replace and file_digest(target) != file_digest(wheel):
        raise StaleError(
            f"{target} is there already with other bytes; a verified wheel is not replaced silently",
            "add --replace, move it away, or choose another --out",
        )
    staged = report_path(wheel)
    staged.write_bytes(_spell(report))
    # Between the two renames a new wheel's report lies beside no wheel or beside the old one, whose hash it does not
    # have: `proven` then says no, and the next build finishes the job.
    staged.replace(report_path(target))
    wheel.replace(target)
    return target


def renew(wheel: Path, report: Mapping[str, Any]) -> Path:
    """Put a new report beside a wheel in place of the one there; what the build alone knows stays. Returns its path."""
    path = report_path(wheel)
    fingerprint: dict[str, Any] = {}
    with suppress(OSError, ValueError, TypeError, KeyError):
        old = json.loads(path.read_bytes())
        if old["sha256"] == report["sha256"]:
            fingerprint = {"fingerprint": old["fingerprint"], "undone": ""}
    try:
        with staging(wheel.parent) as folder:
            staged = folder / path.name
            staged.write_bytes(_spell({**report, **fingerprint}))
            staged.replace(path)
    except OSError as error:
        raise _unwritable(wheel.parent, error) from error
    return path


def _spell(report: Mapping[str, Any]) -> bytes:
    return (json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def proven(target: Path, fingerprint: str) -> dict[str, Any] | None:
    """The report of a wheel that was built from the same inputs, passed, and has not changed since; else None."""
    try:
        report: dict[str, Any] = json.loads(report_path(target).read_bytes())
        same = report["fingerprint"] == fingerprint and report["ok"] and report["sha256"] == file_digest(target)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if same else None


def sweep(out: Path) -> None:
    """Remove what killed builds left behind."""
    for folder in out.glob(f"{_STAGING}*"):
        with suppress(OSError, ValueError, IndexError):
            owner = int(folder.name.removeprefix(_STAGING).split("-")[0])
            if not is_alive(owner) or time.time() - folder.stat().st_mtime > 100 * _ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> BuildToolError:
    return BuildToolError(
        f"cannot write wheels to {out}: {error.strerror or error}", "free space there, or choose another --out"
    )
