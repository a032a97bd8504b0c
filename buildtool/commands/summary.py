"""What came of a build: the table for people, the manifest for programs, and the words that build again what failed."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from buildtool.console import Console
from buildtool.errors import UsageError
from buildtool.make.estimate import Estimate
from buildtool.make.workshop import CellResult
from buildtool.plan.matrix import Matrix
from buildtool.plan.selection import words_for

FORMAT = 1
_NOT_DONE = ("import.foreign", "import.no-torch", "import.skipped")
"""Findings that say why nothing was imported."""


@dataclass(frozen=True)
class Summary:
    """A finished build: what was asked for, what was expected of it, the outcome of each cell, and what was spent."""

    selection: Sequence[str]
    level: str
    estimate: Estimate
    results: Sequence[CellResult]
    spent: Mapping[str, Any]
    again: Sequence[str]
    """Selections of exactly the cells that failed or could not be verified as asked."""

    @property
    def failed(self) -> list[CellResult]:
        return [result for result in self.results if result.exit_code]

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        return {
            "format": FORMAT,
            "selection": list(self.selection),
            "level": self.level,
            "estimate": asdict(self.estimate),
            "totals": Counter(result.status for result in self.results),
            "cells": [_row(result, self.spent["parts"]) for result in self.results],
            "again": list(self.again),
            **self.spent,
        }

    def show(self, console: Console) -> None:
        """The table, the totals, and every failure with its remedy."""
        rows = [(r.status, _size(r.wheel), _verified(r), r.cell.wheel) for r in self.results]
        title = f"{len(rows)} wheels in {self.spent['wall']:.0f} s"
        console.table(title, ("status", "size", "verified", "wheel"), rows)
        totals = Counter(status for status, *_ in rows)
        console.info(f"{title}: {', '.join(f'{number} {status}' for status, number in totals.items())}")
        for what, number in self.spent["counts"].items():
            console.info(f"{what}: {number}")
        for stage, seconds in self.spent["stages"].items():
            console.detail(f"{stage}: {seconds['cpu']:.1f} CPU seconds")

    def explain(self, console: Console) -> None:
        """Every failure once, with the cells that it kept from being built, and how to build just those again."""
        problems: dict[tuple[str, str], list[str]] = {}
        for result in self.failed:
            problems.setdefault((result.problem.replace(result.cell.wheel, "the wheel"), result.hint), []).append(
                result.cell.wheel
            )
        for (problem, hint), wheels in problems.items():
            more = f" and {len(wheels) - 1} more" if len(wheels) > 1 else ""
            console.error(f"{wheels[0]}{more}: {problem}", hint)
        if self.again:
            console.info("again, only these:")
            for words in self.again:
                console.info(f"  python -m buildtool build {words}")


def summary_of(
    matrix: Matrix, args_selection: Sequence[str], level: str, estimate: Estimate, results: Sequence[CellResult],
    spent: Mapping[str, Any],
) -> Summary:  # fmt: skip
    """The summary of a build."""
    again = words_for(matrix, [result.cell.combo for result in results if result.exit_code])
    return Summary(args_selection, level, estimate, results, spent, again)


def write(document: Mapping[str, Any], path: Path) -> None:
    """Put the manifest where it was asked for, whole or not at all. Raises UsageError if that cannot be written."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
        staged.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", "name another --manifest") from error


def _row(result: CellResult, parts: Mapping[str, float]) -> dict[str, Any]:
    report = result.report
    return {
        "wheel": result.cell.wheel,
        **asdict(result.cell.combo),
        "archs": list(result.cell.archs),
        "status": result.status,
        "path": str(result.wheel) if result.wheel else None,
        "sha256": report.get("sha256"),
        "size": report.get("size"),
        "verified": report.get("level"),
        "import": _imported(result),
        "problem": result.problem,
        "hint": result.hint,
        "exit_code": result.exit_code,
        "cpu": parts.get(result.cell.wheel, 0.0),
    }


def _imported(result: CellResult) -> str:
    """What the import check worked with, or that it was not done and why."""
    report = result.report
    if not report:
        return "not done: no wheel"
    if (trial := report.get("trial")) is None:
        return "not done: not asked for"
    reasons = [f["seen"] for f in report["findings"] if f["code"] in _NOT_DONE]
    return f"not done: {'; '.join(reasons)}" if reasons else f"Python {trial['python']}, {trial['torch']}"


def _verified(result: CellResult) -> str:
    level = str(result.report.get("level", ""))
    how = _imported(result)
    return f"{level}; import {how}" if level and how.startswith("not done: ") and result.report.get("trial") else level


def _size(path: Path | None) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB" if path else ""
