"""The gate: a wheel's bytes and its cell → a report of findings. The static level needs nothing but the bytes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from buildtool.errors import VerificationError
from buildtool.plan.cells import Cell
from buildtool.plan.instances import Instance
from buildtool.prove.facts import Facts, gather
from buildtool.prove.findings import Finding
from buildtool.prove.rules import Expectation, Rule, binding, container, device, naming, sbom, stamp, windows
from buildtool.prove.symbols import SymbolIndex

Depth = Literal["static", "import", "gpu"]
DEPTHS: tuple[Depth, ...] = ("static", "import", "gpu")
REPORT_FORMAT = 1

RULES: tuple[Rule, ...] = (
    container.check_zip,
    container.check_content,
    container.check_record,
    naming.check_name,
    naming.check_wheel,
    naming.check_metadata,
    stamp.check_stamp,
    binding.check_binding,
    windows.check_dll,
    device.check_archives,
    device.check_set,
    device.check_dispatch,
    device.check_images,
    sbom.check_sbom,
)


@dataclass(frozen=True)
class ArchResources:
    """What the kernels for one architecture use at most; bytes per thread, registers per thread."""

    arch: str
    kernels: int
    code_bytes: int
    max_registers: int
    max_stack: int
    spilling: tuple[str, ...]


@dataclass(frozen=True)
class TrialResult:
    """What came of importing the wheel in a fresh environment."""

    findings: tuple[Finding, ...]
    python: str
    torch: str
    """How real torch was, e.g. ``torch 2.8.0: real; NVIDIA libraries: stand-ins``."""
    details: Mapping[str, Any] = field(default_factory=dict)
    done: bool = True
    """Whether anything was imported; if not, a finding says why."""


class Trial(Protocol):
    """The port that installs a wheel into a fresh environment, imports it there, and with ``gpu`` computes with it."""

    def __call__(self, wheel: Path, cell: Cell, *, gpu: bool) -> TrialResult: ...


class Audit(Protocol):
    """The port that asks another tool about the file; it is not asked about a wheel with errors."""

    def __call__(self, wheel: Path, cell: Cell) -> tuple[Finding, ...]: ...


@dataclass(frozen=True)
class Report:
    """The outcome for one wheel."""

    wheel: str
    sha256: str
    size: int
    cell: Cell
    level: Depth
    findings: tuple[Finding, ...]
    resources: tuple[ArchResources, ...]
    resolves: Mapping[str, tuple[str, ...]]
    """Torch version → the binding's symbols it lacks, for every torch whose exports were at hand."""
    trial: TrialResult | None
    seconds: Mapping[str, float]

    @property
    def ok(self) -> bool:
        """No finding is an error."""
        return not any(finding.level == "error" for finding in self.findings)

    @property
    def exit_code(self) -> int:
        return 0 if self.ok else VerificationError.exit_code

    def to_json(self) -> dict[str, Any]:
        """The report as it is written beside the wheel. Without times, so that equal wheels have equal reports."""
        return {
            "format": REPORT_FORMAT,
            "wheel": self.wheel,
            "sha256": self.sha256,
            "size": self.size,
            "ok": self.ok,
            "level": self.level,
            "cell": asdict(self.cell),
            "findings": [finding.to_json() for finding in self.findings],
            "resources": [asdict(row) for row in self.resources],
            "resolves": {torch: list(missing) for torch, missing in sorted(self.resolves.items())},
            "trial": None
            if self.trial is None
            else {"python": self.trial.python, "torch": self.trial.torch, **self.trial.details},
        }


def verify_wheel(
    path: Path,
    cell: Cell,
    instances: Sequence[Instance] | None,
    level: Depth = "static",
    *,
    symbols: SymbolIndex | None = None,
    others: Mapping[str, SymbolIndex] | None = None,
    families: Mapping[str, tuple[str, ...]] | None = None,
    trial: Trial | None = None,
    audit: Audit | None = None,
    filename: str | None = None,
) -> Report:
    """Verify one wheel file.

    ``symbols`` are the exports of the cell's exact torch, ``others`` those of further torch versions to report on,
    ``families`` what the package's dispatch table may ask each architecture for.
    ``trial`` is needed for the levels ``import`` and ``gpu``; it runs only if the bytes are without errors.
    ``filename`` is the name to judge if the file still has a staging name. Raises VerificationError only if the file
    cannot be opened or a level cannot be carried out; whatever is wrong with the wheel is a finding.
    """
    if level != "static" and trial is None:
        raise VerificationError(f"level {level} needs an environment to import in", "use --level static")
    started = time.perf_counter()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VerificationError(f"cannot read {path}: {error.strerror or error}", "name an existing wheel") from error
    report = verify_bytes(
        filename or path.name, data, cell, instances, symbols=symbols, others=others, families=families
    )
    if audit is not None and report.ok:
        report = replace(report, findings=(*report.findings, *audit(path, cell)))
    seconds = {"static": time.perf_counter() - started}
    if level == "static" or not report.ok or trial is None:
        return replace(report, seconds=seconds)
    started = time.perf_counter()
    result = trial(path, cell, gpu=level == "gpu")
    seconds[level] = time.perf_counter() - started
    findings = (*report.findings, *result.findings)
    return replace(report, level=level if result.done else "static", findings=findings, trial=result, seconds=seconds)


def verify_bytes(
    filename: str,
    data: bytes,
    cell: Cell,
    instances: Sequence[Instance] | None,
    *,
    symbols: SymbolIndex | None = None,
    others: Mapping[str, SymbolIndex] | None = None,
    families: Mapping[str, tuple[str, ...]] | None = None,
) -> Report:
    """The static level, as a pure function of the wheel's bytes and what is expected of them."""
    facts = gather(filename, data)
    expected = Expectation(cell, None if instances is None else tuple(instances), symbols, families or {})
    found = {finding: None for rule in RULES for finding in rule(facts, expected)}
    return Report(
        wheel=filename,
        sha256=facts.sha256,
        size=facts.size,
        cell=cell,
        level="static",
        findings=tuple(found),
        resources=tuple(_resources(facts)),
        resolves=_resolves(facts, {**(others or {}), **({symbols.torch: symbols} if symbols else {})}),
        trial=None,
        seconds={},
    )


def _resources(facts: Facts) -> list[ArchResources]:
    rows: list[ArchResources] = []
    for arch, images in sorted(facts.cubins.items()):
        kernels = [kernel for image in images or () if image.cubin for kernel in image.cubin.kernels]
        rows.append(
            ArchResources(
                arch=arch,
                kernels=len(kernels),
                code_bytes=sum(kernel.code for kernel in kernels),
                max_registers=max((kernel.registers for kernel in kernels), default=0),
                max_stack=max((kernel.stack for kernel in kernels), default=0),
                spilling=tuple(k.name for k in kernels if k.local_loads or k.local_stores),
            )
        )
    return rows


def _resolves(facts: Facts, indexes: Mapping[str, SymbolIndex]) -> dict[str, tuple[str, ...]]:
    wanted = {name for library in facts.libraries.values() if library for name in binding.torch_symbols(library)}
    return {torch: index.missing(wanted) for torch, index in indexes.items()} if wanted else {}
