"""A second opinion on a manylinux claim: auditwheel's, which the packaging world goes by."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildtool.make.runner import Runner
from buildtool.plan.cells import Cell
from buildtool.prove.findings import Finding
from buildtool.prove.rules.binding import TORCH_LIBRARIES

_GLIBC_TAG = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)\Z")


@dataclass(frozen=True)
class AuditWheel:
    """Asks the auditwheel of this environment; see :func:`buildtool.prove.verify.verify_wheel`."""

    runner: Runner

    def __call__(self, wheel: Path, cell: Cell) -> tuple[Finding, ...]:
        if not _GLIBC_TAG.match(cell.combo.platform):
            return ()
        if importlib.util.find_spec("auditwheel") is None:
            return (Finding("platform.unchecked", cell.combo.platform, "auditwheel's opinion", "no auditwheel here"),)
        result = self.runner.run([sys.executable, "-m", "auditwheel", "show", "--json", wheel], timeout=120)
        try:
            answer = json.loads(result.stdout)
        except ValueError:
            seen = (result.stderr or result.stdout).strip()[-200:] or f"exit code {result.returncode}"
            return (Finding("platform.manylinux", cell.combo.platform, "auditwheel to understand it", seen),)
        return tuple(agreement(answer, cell.combo.platform))


def agreement(answer: Mapping[str, Any], platform: str) -> Iterator[Finding]:
    """What auditwheel says (``show --json``) against the claim.

    Torch's libraries are external by design: torch is loaded before the binding. They are what keeps auditwheel's
    overall tag at ``linux``, so the tag by symbol versions and the rest of the external libraries are what counts.
    """
    claimed, seen = _GLIBC_TAG.match(platform), _GLIBC_TAG.match(str(answer.get("sym_tag")))
    if claimed is None:
        return
    fits = seen is not None and (int(seen[1]), int(seen[2])) <= (int(claimed[1]), int(claimed[2]))
    if not fits or seen is None or seen[3] != claimed[3]:
        yield Finding("platform.manylinux", "symbol versions", platform, str(answer.get("sym_tag")))
    if foreign := sorted(set(answer.get("external_libs", {})) - TORCH_LIBRARIES):
        yield Finding("platform.manylinux", "external libraries", "torch's alone", ", ".join(foreign))
    if answer.get("unsupported_isa"):
        yield Finding("platform.manylinux", "instructions", "the baseline instruction set", "an extended one")
