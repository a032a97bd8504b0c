"""The errors that users see. Each says what happened, where, and how to fix it, and owns an exit code.

They are caught once, in ``buildtool.cli``; nothing else turns an exception into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class BuildToolError(Exception):
    """Root of every error that is reported without a traceback.

    ``message`` says what is wrong and where, ``hint`` how to fix it (may be empty).
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(BuildToolError):
    """A command line, selection or configuration setting that cannot be understood."""

    exit_code = 2


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a data file: where it stands, what was found there, and the remedy."""

    file: str
    key: str
    message: str
    line: int | None = None
    value: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        text = f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"
        if self.value:
            text += f" (found {self.value})"
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(BuildToolError):
    """matrix.toml, instances.toml or a pyproject is wrong. Carries every fault found, not just the first."""

    exit_code = 3

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class CompileError(BuildToolError):
    """NVRTC or the host compiler rejected a source."""

    exit_code = 4


class ToolchainError(BuildToolError):
    """An interpreter, compiler, wheel or library that a build needs could not be had."""

    exit_code = 5


class VerificationError(BuildToolError):
    """A wheel did not pass verification, or a check could not be carried out."""

    exit_code = 6


class StaleError(BuildToolError):
    """A committed generated file, pin or result differs from what would be generated."""

    exit_code = 7


class PublishError(BuildToolError):
    """An index, release or tag cannot be published as asked."""

    exit_code = 8
