"""``render``, ``ci-matrix`` and ``add``: the files that follow from the matrix, and the rows of CI."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from buildtool.commands.files import write_or_check
from buildtool.commands.planning import SCHEMA, matrix_of, plan_of, schema_text
from buildtool.commands.registry import Commands, project_root
from buildtool.console import Console
from buildtool.errors import ConfigError, UsageError
from buildtool.make.runner import Processes, Runner
from buildtool.plan.cells import BuildPlan
from buildtool.plan.matrix import Matrix, parse_matrix
from buildtool.render import ci
from buildtool.render.additions import add_torch
from buildtool.render.files import DOCKERFILE_TEMPLATE, PINS, README, TEMPLATES, rendered_files


def register(commands: Commands) -> None:
    """Add the commands of this module."""
    render = commands.add("render", _render, "Write every file that follows from matrix.toml.")
    render.add_argument("--check", action="store_true", help="change nothing; fail if a file differs")
    matrix = commands.add(
        "ci-matrix", _ci_matrix, "Expand a selection into rows of GitHub job matrices.", selection=True
    )
    matrix.add_argument("--json", action="store_true", help="print the rows as JSON (the default)")
    matrix.add_argument(
        "--github", action="store_true", help="append the outputs cubins, native, container to $GITHUB_OUTPUT"
    )
    matrix.add_argument("--since", default="", metavar="COMMIT", help="only cells whose inputs changed since then")
    matrix.add_argument("--changed", nargs="+", metavar="PATH", help="only cells that have one of these as an input")
    matrix.add_argument("--shard", type=int, default=1, metavar="N", help="which shard of a large selection (from 1)")
    matrix.add_argument("--limit", type=int, default=ci.MAX_ROWS, metavar="N", help="rows a shard may have")
    add = commands.add("add", _add, "Declare a new release in matrix.toml.")
    add.add_argument("what", choices=("torch",), help="what to add")
    add.add_argument("version", help="the release in full, such as 2.15.0")
    for name, about in (
        ("cuda", "CUDA versions of its stable builds"),
        ("experimental-cuda", "CUDA versions of its experimental builds"),
        ("pythons", "the Pythons it has wheels for"),
    ):
        add.add_argument(
            f"--{name}", type=_values, default=(), metavar="A,B", help=f"{about} (default: as the last one)"
        )
    add.add_argument(
        "--pypi-cuda", default="", metavar="A", help="CUDA version of its wheel on PyPI (default: the same)"
    )


def generated_files(root: Path, matrix: Matrix) -> dict[str, str]:
    """Every committed file that follows from the matrix, by path below the project's root."""
    return {**rendered_files(matrix, read_sources(root)), SCHEMA.as_posix(): schema_text()}


def _render(args: argparse.Namespace, console: Console) -> None:
    root = project_root(args)
    files = generated_files(root, matrix_of(args))
    write_or_check(root, files, console, check=args.check, again="python -m buildtool render")


def read_sources(root: Path) -> dict[str, str]:
    """Templates, pins and README by path below the project's root."""
    templates = sorted(path.relative_to(root).as_posix() for path in (root / TEMPLATES).glob("*.in"))
    sources = {}
    for path in (DOCKERFILE_TEMPLATE, PINS, README, *templates):
        try:
            sources[path] = (root / path).read_bytes().decode("utf-8")
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", "restore it from the repository") from error
    return sources


def _ci_matrix(args: argparse.Namespace, console: Console) -> None:
    matrix, plan = matrix_of(args), plan_of(args)
    if args.since or args.changed:
        plan = _slim(args, matrix, plan, Processes(console.detail))
    parts = ci.shards(plan.cells, args.limit)
    if not 1 <= args.shard <= len(parts):
        raise UsageError(f"there is no shard {args.shard}", f"shards of this selection: 1 to {len(parts)}")
    cells = parts[args.shard - 1]
    rows = ci.cell_rows(matrix, cells)
    groups = {
        "cubins": ci.cubin_rows(cells),
        "native": [row for row in rows if not row["image"]],
        "container": [row for row in rows if row["image"]],
    }
    if args.github:
        _write_outputs(groups)
        console.info(f"{len(cells)} cells, {len(groups['cubins'])} cubin jobs, shard {args.shard} of {len(parts)}")
    else:
        console.json({"shards": len(parts), **{name: {"include": group} for name, group in groups.items()}})


def _write_outputs(groups: dict[str, list[ci.Row]]) -> None:
    path = os.environ.get("GITHUB_OUTPUT", "")
    if not path:
        raise UsageError("--github needs $GITHUB_OUTPUT", "run it in GitHub Actions, or use --json")
    with Path(path).open("a", encoding="utf-8") as file:
        # An empty output skips the job; an empty matrix would fail the run.
        file.writelines(f"{name}={json.dumps({'include': group}) if group else ''}\n" for name, group in groups.items())


def _slim(args: argparse.Namespace, matrix: Matrix, plan: BuildPlan, runner: Runner) -> BuildPlan:
    changed, before = list(args.changed or ()), None
    if args.since:
        root = project_root(args)
        changed += _git(runner, root, "diff", "--name-only", f"{args.since}...HEAD").splitlines()
        try:
            before = parse_matrix(_git(runner, root, "show", f"{args.since}:matrix.toml"))
        except (UsageError, ConfigError):
            before = None  # a matrix that this version cannot read: everything may have changed
    return ci.slim(matrix, plan, changed, before)


def _git(runner: Runner, root: Path, *argv: str) -> str:
    result = runner.run(["git", *argv], cwd=root, timeout=60.0)
    if result.returncode:
        raise UsageError(f"git {' '.join(argv)} failed: {result.stderr.strip()}", "name a commit that is fetched")
    return result.stdout


def _add(args: argparse.Namespace, console: Console) -> None:
    root = project_root(args)
    text = (root / "matrix.toml").read_bytes().decode("utf-8")
    added = add_torch(
        text,
        args.version,
        cuda=args.cuda,
        experimental_cuda=args.experimental_cuda,
        pypi_cuda=args.pypi_cuda,
        pythons=args.pythons,
    )
    write_or_check(root, {"matrix.toml": added}, console, check=False, again="")
    console.info("now check its facts against PyTorch's release notes, then: python -m buildtool render")


def _values(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))
