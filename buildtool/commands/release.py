"""``release plan|check|tag|notes|publish``: from verified wheels to a public release."""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from buildtool.commands.files import stale
from buildtool.commands.planning import matrix_of
from buildtool.commands.registry import Commands, project_root
from buildtool.commands.rendering import generated_files
from buildtool.console import Console
from buildtool.errors import PublishError, UsageError
from buildtool.make.runner import Processes
from buildtool.make.stage import snapshot_kernels, source_digest
from buildtool.plan.cells import Cell
from buildtool.plan.matrix import Matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from buildtool.publish import release
from buildtool.publish.checkout import Checkout
from buildtool.publish.github import API, GitHubReleases
from buildtool.publish.shelf import attestations_of, newest_evidence, read_shelf
from buildtool.publish.staged import publish

MAIN_PACKAGE = "sageattention"
"""The package whose version names the release."""


def register(commands: Commands) -> None:
    parser = commands.add("release", _release, "Plan, check, tag, describe and publish a release.")
    parser.add_argument("step", choices=sorted(_STEPS), help="what to do")
    parser.add_argument("selection", nargs="*", metavar="key=value", help="cells (default: set=release)")
    parser.add_argument(
        "--dist", type=Path, default=Path("dist"), metavar="DIR", help="where the wheels are (default: dist)"
    )
    parser.add_argument("--remote", default="origin", help="git remote of the tag (default: origin)")
    parser.add_argument("--push", action="store_true", help="tag: also push the tag to --remote")
    parser.add_argument("--tag", help="notes, publish: an existing tag (default: the newest of this version)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing")
    parser.add_argument("--json", action="store_true", help="plan, check: the outcome as JSON")


@dataclass(frozen=True)
class _Release:
    args: argparse.Namespace
    console: Console
    root: Path
    matrix: Matrix
    cells: tuple[Cell, ...]
    checkout: Checkout

    @property
    def version(self) -> str:
        return self.matrix.facts.package[MAIN_PACKAGE].version

    @property
    def changelog(self) -> str:
        path = self.root / "CHANGELOG.md"
        return path.read_text("utf-8") if path.is_file() else ""

    def state(self) -> release.State:
        verified, refused = read_shelf(self.args.dist)
        return release.State(
            version=self.version,
            tags=self.checkout.tags(),
            stale=stale(self.root, generated_files(self.root, self.matrix)),
            dirty=self.checkout.dirty(),
            wheels={cell.wheel: verified[cell.wheel] for cell in self.cells if cell.wheel in verified},
            unverified=refused,
            evidence_digest=newest_evidence(self.root / "bench" / "results"),
            kernel_digest=_kernel_digest(self.root, MAIN_PACKAGE),
            changelog=self.changelog,
        )

    def tag_named(self) -> str:
        tags = [tag for tag in self.checkout.tags() if release.version_of(tag) == self.version]
        name: str | None = self.args.tag
        if name is not None and name not in tags:
            raise UsageError(f"there is no tag {name} of version {self.version}", "make it with `release tag`")
        if not tags:
            raise UsageError(f"version {self.version} has no tag yet", "make it with `release tag`")
        return name or max(tags, key=release.tag_key)


def _release(args: argparse.Namespace, console: Console) -> int:
    root = project_root(args)
    matrix = matrix_of(args)
    cells = make_plan(matrix, select(matrix, args.selection or ["set=release"])).cells
    runner = Processes(console.detail)
    return _STEPS[args.step](_Release(args, console, root, matrix, cells, Checkout(root, runner)))


def _plan(job: _Release) -> int:
    state = job.state()
    tag = release.next_tag(job.version, state.tags)
    rows = [(cell.wheel, "verified" if cell.wheel in state.wheels else "to build") for cell in job.cells]
    if job.args.json:
        job.console.json({"tag": tag, "wheels": [{"wheel": name, "state": word} for name, word in rows]})
    else:
        job.console.table(f"{tag}: {len(rows)} wheels", ("wheel", "state"), rows)
        job.console.result(f"next tag: {tag}")
    return 0


def _check(job: _Release) -> int:
    found = release.obstacles(job.cells, job.state())
    if job.args.json:
        job.console.json({"obstacles": [dataclasses.asdict(obstacle) for obstacle in found]})
    else:
        for obstacle in found:
            job.console.error(obstacle.what, obstacle.remedy)
        if not found:
            job.console.result(f"nothing stands in the way of {len(job.cells)} wheels of {job.version}")
    return PublishError.exit_code if found else 0


def _refuse_unready(job: _Release) -> release.State:
    state = job.state()
    if found := release.obstacles(job.cells, state):
        reasons = "\n".join(f"  {obstacle.what}" for obstacle in found)
        raise PublishError(f"{len(found)} obstacles to a release:\n{reasons}", "see `release check` for the remedies")
    return state


def _tag(job: _Release) -> int:
    state = _refuse_unready(job)
    name = release.next_tag(job.version, state.tags | job.checkout.tags(job.args.remote))
    if job.args.dry_run:
        job.console.result(f"would tag {name}" + (f" and push it to {job.args.remote}" if job.args.push else ""))
        return 0
    signed = job.checkout.tag(name, f"{MAIN_PACKAGE} {name}")
    job.console.result(f"{name} ({'signed' if signed else 'not signed: git has no user.signingkey'})")
    if job.args.push:
        job.checkout.push_tag(name, job.args.remote)
        job.console.result(f"{name} pushed to {job.args.remote}")
    return 0


def _notes_of(job: _Release, tag: str, state: release.State) -> str:
    return release.notes(tag, job.cells, state.wheels, job.changelog, job.version)


def _notes(job: _Release) -> int:
    state = job.state()
    job.console.result(_notes_of(job, job.args.tag or release.next_tag(job.version, state.tags), state))
    return 0


def _publish(job: _Release) -> int:
    state = _refuse_unready(job)
    tag = job.tag_named()
    text = _notes_of(job, tag, state)
    files = {**state.wheels, **attestations_of(state.wheels.values(), job.args.dist)}
    if job.args.dry_run:
        for name, file in sorted(files.items()):
            job.console.result(f"would upload {name} ({file.size:,} bytes, sha256 {file.sha256})")
        job.console.result(f"would publish {tag} with {len(state.wheels)} wheels, all assets first, then one switch")
        return 0
    repository, token = (os.environ.get(name, "") for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"))
    if not (repository and token):
        raise UsageError("publishing needs GITHUB_REPOSITORY and GITHUB_TOKEN", "set them, or look with --dry-run")
    host = GitHubReleases(repository, token, os.environ.get("GITHUB_API_URL", API))
    publish(host, tag, text, files=files, folder=job.args.dist, say=job.console.info)
    return 0


_STEPS = {"plan": _plan, "check": _check, "tag": _tag, "notes": _notes, "publish": _publish}


def _kernel_digest(root: Path, package: str) -> str:
    """The digest that a wheel built from this checkout would be stamped with."""
    with tempfile.TemporaryDirectory(prefix="buildtool-") as folder:
        return source_digest(snapshot_kernels(root, Path(folder)), root, package)
