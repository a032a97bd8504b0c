"""What a build works with and answers with: its tools, the ports to verification, and the outcome of a cell."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from buildtool.make.ledger import Ledger
from buildtool.make.runner import Runner
from buildtool.make.stage import Package
from buildtool.make.store import Store
from buildtool.make.toolchain import Installed, TorchTree
from buildtool.plan.cells import Cell


@dataclass(frozen=True)
class Verdict:
    """What verification says of one wheel."""

    ok: bool
    report: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    undone: str = ""
    """Why a check that belongs to this level could not be carried out; empty if all were."""


class Gate(Protocol):
    """The port that decides whether a wheel may go to ``dist/``. ``torch`` provides the cell's torch when needed."""

    def __call__(self, wheel: Path, cell: Cell, torch: Callable[[], TorchTree], runner: Runner) -> Verdict: ...


class Provenance(Protocol):
    """The port that describes a wheel's origin: files for its dist-info folder, by archive path."""

    def __call__(self, cell: Cell, source_digest: str) -> Mapping[str, bytes]: ...


@dataclass(frozen=True)
class Workshop:
    """Everything a build works with."""

    project: Path
    packages: Mapping[str, Package]
    store: Store
    runner: Runner
    provenance: Provenance
    jobs: int
    lineinfo: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    say: Callable[[str], None] = lambda _: None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    torch_lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while a torch is looked for and installed, so that two wheels do not download the same one."""
    installed: Installed | None = None
    """Toolchain wheels that a build front end installed; used where their versions are the cell's pins."""


@dataclass(frozen=True)
class CellResult:
    """What became of one cell: ``built``, ``unchanged``, ``unproven`` (a check was not possible) or ``failed``."""

    cell: Cell
    status: str
    wheel: Path | None = None
    problem: str = ""
    hint: str = ""
    exit_code: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
