"""Collects the faults of matrix.toml: every one with its line, its key path, the value found, and a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from buildtool.errors import Fault
from buildtool.plan.locate import KeyPath, line_of, show_path
from buildtool.plan.model import EXAMPLES, MatrixFile


def nearest(value: str, valid: Iterable[str]) -> str:
    """``did you mean X`` if one of ``valid`` looks like ``value``, and what is valid in any case."""
    names = list(valid)
    close = difflib.get_close_matches(value, names, 1, cutoff=0.5)
    listed = f"valid: {', '.join(names)}" if names else "nothing is valid here"
    return f"did you mean {close[0]}? {listed}" if close else listed


class Reporter:
    """Faults of one file as they are found."""

    def __init__(self, file: str, lines: dict[KeyPath, int]) -> None:
        self.file, self.lines = file, lines
        self.faults: list[Fault] = []

    def add(self, path: KeyPath, message: str, value: Any = "", remedy: str = "") -> None:
        line = line_of(self.lines, path)
        self.faults.append(Fault(self.file, show_path(path), message, line, str(value), remedy))

    def unknown(self, path: KeyPath, message: str, value: str, valid: Iterable[str]) -> None:
        self.add(path, message, value, nearest(value, valid))

    def sorted(self) -> list[Fault]:
        """In the order of the file."""
        return sorted(self.faults, key=lambda fault: (fault.line or 0, fault.key))


def explain(report: Reporter, error: ErrorDetails) -> None:
    """Report one of pydantic's findings in the terms of the file."""
    kind, path, found = error["type"], error["loc"], error["input"]
    if path and path[-1] == "[key]":  # the name of a table, not its content
        path = path[:-1]
        found = path[-1]
    model = _model_at(path[:-1])
    match kind:
        case "extra_forbidden":
            report.unknown(path, "unknown key", str(path[-1]), model.model_fields if model else ())
        case "missing":
            report.add(path, "missing", remedy=f"add it: {_about(model, str(path[-1]))}")
        case "string_pattern_mismatch":
            example = EXAMPLES.get(error["ctx"]["pattern"])
            remedy = f"write it like {example}" if example else f"it must match {error['ctx']['pattern']}"
            report.add(path, "malformed value", repr(found), remedy)
        case "string_type" if isinstance(found, (int, float)) and not isinstance(found, bool):
            report.add(path, "expected a string", found, f'quote it: "{found}"')
        case _:
            report.add(path, error["msg"][:1].lower() + error["msg"][1:], repr(found), _about(model, str(path[-1])))


def _about(model: type[BaseModel] | None, name: str) -> str:
    field = model.model_fields.get(name) if model else None
    if field is None:
        return ""
    example = f", such as {field.examples[0]}" if field.examples else ""
    return (field.description or name.replace("_", " ")) + example


def _model_at(path: KeyPath) -> type[BaseModel] | None:
    """The model that describes the table at ``path``."""
    model: Any = MatrixFile
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(part))
            model = field.annotation if field else None
        else:  # a dict or list of tables: its content follows the key
            model = model.__args__[-1] if hasattr(model, "__args__") else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None
