"""matrix.toml, read and checked: facts, the combos that exist, and the named sets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from buildtool.errors import ConfigError, UsageError
from buildtool.plan.cells import Combo
from buildtool.plan.checks import check_facts
from buildtool.plan.faults import Reporter, explain
from buildtool.plan.locate import locate, read_toml
from buildtool.plan.model import MatrixFile, Platform, Row, TorchFacts
from buildtool.plan.tags import minor_of, version_key

AXES = ("package", "torch", "cuda", "python", "platform")
"""The axes of the matrix, in the order in which combos are sorted and printed."""


@dataclass(frozen=True)
class Matrix:
    """The facts, every combo they allow, and the named sets, all in canonical order."""

    facts: MatrixFile
    combos: tuple[Combo, ...]
    sets: Mapping[str, tuple[Combo, ...]]

    def values(self, axis: str) -> tuple[str, ...]:
        """The declared values of an axis, in order."""
        return tuple(dict.fromkeys(getattr(combo, axis) for combo in sorted(self.combos, key=lambda c: _key(c, axis))))

    def pairs(self) -> frozenset[tuple[str, str]]:
        """Every (torch, CUDA) pair that exists: what a build tag can stand for."""
        return frozenset((combo.torch, combo.cuda) for combo in self.combos)

    def torch_facts(self, release: str) -> TorchFacts:
        return self.facts.torch[minor_of(release)]


def load_matrix(path: Path) -> Matrix:
    """Read matrix.toml. Raises ConfigError with every fault found, UsageError if it cannot be read."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "name the project's folder with --project DIR") from error
    return parse_matrix(text, path.name)


def parse_matrix(text: str, file: str = "matrix.toml") -> Matrix:
    """Parse and check a matrix. Raises ConfigError with every fault found."""
    document = read_toml(text, file)
    report = Reporter(file, locate(text))
    try:
        facts = MatrixFile.model_validate(document)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            explain(report, detail)
        raise ConfigError(report.sorted()) from error
    check_facts(report, facts)
    if report.faults:  # sets cannot be expanded over facts that contradict each other
        raise ConfigError(report.sorted())
    combos = tuple(sort(_universe(facts)))
    sets = {name: _expand(report, facts, combos, name) for name in facts.set}
    if report.faults:
        raise ConfigError(report.sorted())
    return Matrix(facts, combos, sets)


def sort(combos: Iterator[Combo] | Sequence[Combo]) -> list[Combo]:
    """Combos in canonical order: by package, then by version as a version, then by platform."""
    return sorted(combos, key=lambda combo: tuple(_key(combo, axis) for axis in AXES))


_KEYS: dict[str, Any] = {"torch": version_key, "cuda": version_key, "python": version_key}


def _key(combo: Combo, axis: str) -> Any:
    value = getattr(combo, axis)
    return version_key(value) if axis in _KEYS else value


def _universe(facts: MatrixFile) -> Iterator[Combo]:
    """Every combo that the facts allow."""
    for minor, torch in facts.torch.items():
        cudas = [*torch.cuda, *torch.experimental_cuda]
        for (package, about), (platform, where), cuda in itertools.product(
            facts.package.items(), facts.platform.items(), cudas
        ):
            if version_key(cuda) < version_key(about.cuda_minimum) or not _runs_on(where, minor, cuda):
                continue
            for release, python in itertools.product(torch.releases, torch.pythons):
                yield Combo(package, release, cuda, python, platform)


def _runs_on(platform: Platform, torch: str, cuda: str) -> bool:
    new_enough = version_key(torch) >= version_key(platform.torch_minimum)
    return new_enough and version_key(cuda) >= version_key(platform.cuda_minimum)


def _expand(report: Reporter, facts: MatrixFile, combos: Sequence[Combo], name: str) -> tuple[Combo, ...]:
    named = facts.set[name]
    sound = [
        check
        for kind, rows in (("include", named.include), ("exclude", named.exclude))
        for index, row in enumerate(rows)
        for check in [_check_row(report, facts, row, ("set", name, kind, index))]
    ]
    if not all(sound):
        return ()
    chosen = [combo for combo in combos if any(_matches(facts, row, combo) for row in named.include)]
    for index, row in enumerate(named.exclude):
        kept = [combo for combo in chosen if not _matches(facts, row, combo)]
        if len(kept) == len(chosen):
            path = ("set", name, "exclude", index)
            report.add(path, "leaves out nothing", remedy="delete it, or make it match a cell that include has")
        chosen = kept
    if not chosen:
        report.add(("set", name), "is empty", remedy="include at least one cell that the facts allow")
    return tuple(chosen)


def _matches(facts: MatrixFile, row: Row, combo: Combo) -> bool:
    first = facts.torch[minor_of(combo.torch)].releases[0]
    torches = row.torch or [first]
    return (
        (combo.torch in torches or (combo.torch == first and minor_of(combo.torch) in torches))
        and (not row.package or combo.package in row.package)
        and (not row.cuda or combo.cuda in row.cuda)
        and (not row.python or combo.python in row.python)
        and (not row.platform or combo.platform in row.platform)
    )


def _check_row(report: Reporter, facts: MatrixFile, row: Row, path: tuple[str | int, ...]) -> bool:
    """Report values that nothing declares, and pairs of named values that never were built. True if there are none."""
    before = len(report.faults)
    releases = [release for torch in facts.torch.values() for release in torch.releases]
    known = {
        "package": list(facts.package),
        "torch": [*releases, *facts.torch],
        "cuda": list(facts.cuda),
        "python": list(dict.fromkeys(python for torch in facts.torch.values() for python in torch.pythons)),
        "platform": list(facts.platform),
    }
    for axis, declared in known.items():
        for index, value in enumerate(getattr(row, axis)):
            if value not in declared:
                report.unknown((*path, axis, index), f"no {axis} {value} is declared", value, declared)
    if len(report.faults) > before:
        return False
    for torch in row.torch:
        about = facts.torch[minor_of(torch)]
        for axis, had in (("cuda", [*about.cuda, *about.experimental_cuda]), ("python", about.pythons)):
            label = "CUDA" if axis == "cuda" else "Python"
            for index, value in enumerate(getattr(row, axis)):
                if value not in had:
                    message = f"PyTorch {torch} was never built for {label} {value}"
                    remedy = f"it has {', '.join(had)}; give this {label} a row of its own"
                    report.add((*path, axis, index), message, value, remedy)
    return len(report.faults) == before
