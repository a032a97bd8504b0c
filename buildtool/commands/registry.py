"""What a command module registers itself with, and the arguments that commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from buildtool.console import Console
from buildtool.errors import UsageError

Run = Callable[[argparse.Namespace, Console], int | None]
"""A command: takes the parsed arguments and the console; returns an exit code, None being 0."""


class Commands:
    """The subcommands of ``python -m buildtool``."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(self, name: str, run: Run, about: str, *, selection: bool = False) -> argparse.ArgumentParser:
        """Add a subcommand and return its parser, to which the caller adds arguments.

        ``about`` is one sentence. With ``selection`` the command takes the ``key=value`` words of
        :func:`buildtool.plan.selection.select`, found in ``args.selection``.
        """
        parser = self._subparsers.add_parser(name, help=about, description=about)
        parser.set_defaults(run=run)
        parser.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS, help="say more")
        parser.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="say only results")
        parser.add_argument("--project", type=Path, default=argparse.SUPPRESS, metavar="DIR", help=argparse.SUPPRESS)
        if selection:
            parser.add_argument(
                "selection",
                nargs="*",
                metavar="key=value",
                help="torch=2.8,2.9 cuda=12.8 python=3.12 package=sageattention platform=linux_x86_64 set=release",
            )
        return parser


def project_root(args: argparse.Namespace) -> Path:
    """The folder with matrix.toml: ``--project``, else the nearest one from the working directory upwards."""
    given: Path | None = getattr(args, "project", None)
    start = (given or Path.cwd()).resolve()
    for folder in (start,) if given else (start, *start.parents):
        if (folder / "matrix.toml").is_file():
            return folder
    raise UsageError(
        f"no matrix.toml in {start}" + ("" if given else " or above it"),
        "run inside a checkout of the project, or name it with --project DIR",
    )
