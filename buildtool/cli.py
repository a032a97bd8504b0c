"""The command line: argument parsing, and the one place where an error becomes an exit code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from buildtool import errors
from buildtool.commands import building, doctor, indexing, planning, release, rendering, verifying, watch
from buildtool.commands.registry import Commands
from buildtool.console import Console

COMMANDS: tuple[ModuleType, ...] = (planning, building, verifying, rendering, indexing, doctor, watch, release)
"""The command modules, in the order in which ``--help`` shows them."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it (128 + SIGINT)."""

EXIT_CODES = (
    (0, "done"),
    (errors.BuildToolError.exit_code, "something else went wrong"),
    (errors.UsageError.exit_code, "command line or selection not understood"),
    (errors.ConfigError.exit_code, "matrix.toml, instances.toml or a pyproject is wrong; every fault is listed"),
    (errors.CompileError.exit_code, "a kernel or the binding did not compile"),
    (errors.ToolchainError.exit_code, "an interpreter, compiler, wheel or library could not be had"),
    (errors.VerificationError.exit_code, "a wheel did not pass verification, or a check could not be done"),
    (errors.StaleError.exit_code, "a generated file, pin or result is out of date"),
    (errors.PublishError.exit_code, "an index, release or tag cannot be published as asked"),
    (INTERRUPTED, "interrupted"),
)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES)
    top = argparse.ArgumentParser(
        prog="buildtool",
        description="From one matrix to verified CUDA attention wheels.",
        epilog=f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("-v", "--verbose", action="count", default=0, help="say more")
    top.add_argument("-q", "--quiet", action="store_true", help="say only results and errors")
    top.add_argument("--project", type=Path, metavar="DIR", help="folder with matrix.toml (default: found upwards)")
    commands = Commands(top)
    for module in COMMANDS:
        module.register(commands)
    return top


def _parsed(top: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; selection words may stand before, between and behind options, which argparse alone refuses."""
    args, rest = top.parse_known_args(argv)
    if unknown := [word for word in rest if word.startswith("-") or "=" not in word or not hasattr(args, "selection")]:
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.selection = [*args.selection, *rest]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    args = _parsed(parser(), argv)
    console = Console(verbosity=-1 if args.quiet else args.verbose)
    try:
        return args.run(args, console) or 0
    except errors.BuildToolError as error:
        console.error(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
