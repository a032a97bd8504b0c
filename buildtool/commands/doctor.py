"""``doctor``: which wheel fits a machine, and what an error text means."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from buildtool.commands.planning import matrix_of
from buildtool.commands.registry import Commands, project_root
from buildtool.console import Console
from buildtool.errors import ToolchainError, UsageError
from buildtool.make.runner import Processes, base_environment
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.prove.package import PACKAGE, load_causes, load_dispatch
from buildtool.publish.doctor import Offer, advise, explain, offer_of_cell, offers_of_manifest, read_machine


def register(commands: Commands) -> None:
    """Add the command."""
    doctor = commands.add("doctor", _doctor, "Say which wheel fits a machine, or what an error text means.")
    doctor.add_argument("text", nargs="*", help="an error text to explain, or - to read it from standard input")
    doctor.add_argument("--why", default="", metavar="TEXT", help="the same, as the package's own doctor takes it")
    doctor.add_argument("--env", type=Path, metavar="FILE", help="report of `python -m sageattention doctor --json`")
    doctor.add_argument("--python", type=Path, metavar="PROGRAM", help="interpreter of the environment to look at")
    doctor.add_argument("--package", default=PACKAGE, help=f"the package to install (default: {PACKAGE})")
    doctor.add_argument("--manifest", type=Path, metavar="FILE", help="wheels.json of an index (default: the matrix)")
    doctor.add_argument("--site-url", default="<site>", metavar="URL", help="address of the index, for the commands")
    doctor.add_argument("--json", action="store_true", help="the answer as JSON")


def _doctor(args: argparse.Namespace, console: Console) -> int:
    text = args.why or " ".join(args.text)
    if text == "-":
        text = sys.stdin.read()
    answer: dict[str, Any] = {}
    if text:
        cause = explain(text, load_causes(project_root(args)))
        answer["error"] = (
            {"code": cause.code, "cause": cause.cause, "cure": cause.cure} if cause else {"code": "unknown"}
        )
    if not text or args.env or args.python:
        machine = read_machine(_report(args, console))
        advice = advise(machine, _offers(args), args.package, load_dispatch(project_root(args)), args.site_url)
        answer["advice"] = advice.to_json()
    if args.json:
        console.json(answer)
    else:
        _show(answer, console)
    known = answer.get("error", {}).get("code") != "unknown"
    return 0 if known and answer.get("advice", {"wheel": "-"})["wheel"] else 1


def _report(args: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The report that was named, or a fresh one of the interpreter that was named, or of this one."""
    if args.env:
        try:
            text = args.env.read_text("utf-8")
        except OSError as error:
            raise UsageError(f"cannot read {args.env}: {error.strerror}", "name an existing report") from error
    else:
        env = {**base_environment(), "PYTHONPATH": str(project_root(args))}
        argv = [args.python or Path(sys.executable), "-m", PACKAGE, "doctor", "--json"]
        text = Processes(console.detail).run(argv, env=env, timeout=300).stdout
    try:
        report = json.loads(text)
    except ValueError as error:
        kind = UsageError if args.env else ToolchainError
        raise kind(f"the report is not JSON: {error}", "see `python -m sageattention doctor --json`") from error
    if not isinstance(report, dict):
        raise UsageError("the report is no JSON object", "see `python -m sageattention doctor --json`")
    return report


def _offers(args: argparse.Namespace) -> tuple[Offer, ...]:
    if args.manifest:
        try:
            return offers_of_manifest(json.loads(args.manifest.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {args.manifest}: {error}", "name the wheels.json of an index") from error
    matrix = matrix_of(args)
    return tuple(offer_of_cell(cell) for cell in make_plan(matrix, select(matrix, ["set=all"])).cells)


def _show(answer: dict[str, Any], console: Console) -> None:
    if error := answer.get("error"):
        console.result(f"cause: {error.get('cause', 'no known cause matches this text')}")
        if "cure" in error:
            console.result(f"cure:  {error['cure']}")
    if advice := answer.get("advice"):
        console.result(f"wheel: {advice['wheel'] or 'none fits'}")
        for command in advice["commands"]:
            console.result(f"  {command}")
        for reason in advice["reasons"]:
            console.result(f"  {reason}")
