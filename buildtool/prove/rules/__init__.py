"""The rules: pure functions from a wheel's facts and what was expected of it to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from buildtool.plan.cells import Cell
from buildtool.plan.instances import Instance
from buildtool.prove.facts import Facts
from buildtool.prove.findings import Finding
from buildtool.prove.symbols import SymbolIndex


@dataclass(frozen=True)
class Expectation:
    """What a wheel is compared with."""

    cell: Cell
    instances: tuple[Instance, ...] | None
    """The project's instances; None compares the cubins with the wheel's own record instead."""
    symbols: SymbolIndex | None
    """Exports of the exact torch; None leaves the binding's undefined symbols unchecked."""
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Architecture → kernel families that the dispatch table may ask its cubins for."""


Rule = Callable[[Facts, Expectation], Iterator[Finding]]
