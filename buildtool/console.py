"""The only place that prints: results on stdout, everything said on the way on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import rich.box
import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


def _rich(*, stderr: bool) -> rich.console.Console:
    stream = sys.stderr if stderr else sys.stdout
    return rich.console.Console(file=stream, highlight=False, emoji=False, markup=False, soft_wrap=True)


@dataclass
class Console:
    """What a command says, and how loudly: ``verbosity`` is -1 with ``-q``, 0, or 1 and more with ``-v``."""

    verbosity: int = 0
    out: rich.console.Console = field(default_factory=lambda: _rich(stderr=False))
    err: rich.console.Console = field(default_factory=lambda: _rich(stderr=True))

    def result(self, text: str) -> None:
        """Print what the command was run for. Never silenced."""
        self.out.print(text)

    def json(self, value: Any) -> None:
        """Print a JSON document as the result."""
        self.out.file.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table as the result: drawn on a terminal, aligned text columns elsewhere."""
        if not self.out.is_terminal:
            lines = [tuple(columns), *map(tuple, rows)]
            widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
            for line in lines:
                self.result("  ".join(map(str.ljust, line, widths)).rstrip())
            return
        table = Table(title=title, box=rich.box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*row)
        self.out.print(table)

    def info(self, text: str) -> None:
        """Say what is going on; silenced by ``-q``."""
        if self.verbosity >= 0:
            self.err.print(text)

    def detail(self, text: str) -> None:
        """Say what only a look behind the scenes needs; shown by ``-v``."""
        if self.verbosity > 0:
            self.err.print(text, style="dim")

    def warn(self, text: str) -> None:
        self.err.print(f"warning: {text}", style="yellow")

    def error(self, message: str, hint: str = "") -> None:
        """Print an error and its remedy. Never silenced."""
        self.err.print(f"error: {message}", style="red")
        if hint:
            self.err.print(f"  fix: {hint}")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is said inside under ``title`` in a GitHub Actions log; elsewhere just say the title."""
        folds = os.environ.get("GITHUB_ACTIONS") == "true"
        self.info(f"::group::{title}" if folds else title)
        try:
            yield
        finally:
            if folds:
                self.info("::endgroup::")

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Step]:
        """Show the progress of ``total`` steps: a bar on a terminal, one plain line per step with ``-v`` elsewhere."""
        if not self.err.is_terminal or self.verbosity < 0:
            yield Step(self, title, total)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.err, transient=True) as bar:
            yield Step(self, title, total, bar)


class Step:
    """Counts finished steps; see :meth:`Console.progress`."""

    def __init__(self, console: Console, title: str, total: int, bar: Progress | None = None) -> None:
        self._console, self._title, self._total, self._bar, self._done = console, title, total, bar, 0
        self._task = bar.add_task(title, total=total) if bar else None

    def advance(self, what: str = "") -> None:
        """One step is done; ``what`` names it."""
        self._done += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, description=f"{self._title} {what}")
        else:
            self._console.detail(f"[{self._done}/{self._total}] {self._title} {what}")
