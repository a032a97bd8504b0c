"""``watch``: which builds of PyTorch exist that matrix.toml does not declare."""

from __future__ import annotations

import argparse
import dataclasses
import os

from buildtool.commands.planning import matrix_of
from buildtool.commands.registry import Commands
from buildtool.console import Console
from buildtool.errors import PublishError, UsageError
from buildtool.plan.matrix import Matrix
from buildtool.plan.tags import version_key
from buildtool.publish.github import API, GitHubIssues
from buildtool.publish.sources import channel_builds, pypi_builds
from buildtool.publish.watch import Build, Gap, channel_of, gaps

ISSUE_TITLE = "New PyTorch builds that the matrix does not have"


def register(commands: Commands) -> None:
    parser = commands.add("watch", _watch, "Compare matrix.toml with the builds that PyPI and PyTorch's index serve.")
    parser.add_argument("--json", action="store_true", help="print the gaps as JSON")
    parser.add_argument("--pypi-only", action="store_true", help="do not ask PyTorch's own index")
    parser.add_argument(
        "--open-issue",
        action="store_true",
        help="report gaps as an issue of $GITHUB_REPOSITORY with $GITHUB_TOKEN, once",
    )


def _watch(args: argparse.Namespace, console: Console) -> None:
    matrix = matrix_of(args)
    builds, unasked = _builds(matrix, console, pypi_only=args.pypi_only)
    found = gaps(matrix, builds)
    if args.json:
        console.json({"gaps": [dataclasses.asdict(gap) for gap in found], "not_asked": unasked})
    else:
        console.result(_text(found) if found else f"matrix.toml has everything that {len(builds)} served builds show")
    if found and args.open_issue:
        console.info(f"reported: {_issues().open_once(ISSUE_TITLE, _text(found))}")


def _builds(matrix: Matrix, console: Console, *, pypi_only: bool) -> tuple[list[Build], list[str]]:
    """All builds served, and the sources that did not answer; PyPI must."""
    console.info("asking PyPI")
    builds = list(pypi_builds(min(matrix.facts.torch, key=version_key)))
    unasked: list[str] = []
    channels = [] if pypi_only else [channel_of(cuda) for cuda in matrix.facts.cuda]
    for channel in channels:
        console.info(f"asking PyTorch's index for {channel}")
        try:
            builds.extend(build for _, found in channel_builds([channel]) for build in found)
        except PublishError as error:
            console.warn(f"{error.message}; not compared")
            unasked.append(channel)
    return builds, unasked


def _text(found: tuple[Gap, ...]) -> str:
    return "\n\n".join(
        f"{gap.what}. In matrix.toml, {gap.key}:\n\n    " + gap.rows.replace("\n", "\n    ") for gap in found
    )


def _issues() -> GitHubIssues:
    repository, token = (os.environ.get(name, "") for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"))
    if not (repository and token):
        raise UsageError(
            "--open-issue needs GITHUB_REPOSITORY and GITHUB_TOKEN", "run it in GitHub Actions, or set them"
        )
    return GitHubIssues(repository, token, os.environ.get("GITHUB_API_URL", API))
