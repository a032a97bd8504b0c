"""A release of a scratch clone: from missing wheels to a public release on a fake host, through the command line."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildtool.cli import main
from buildtool.errors import PublishError, UsageError
from buildtool.make.stage import snapshot_kernels, source_digest
from buildtool.plan.matrix import load_matrix
from buildtool.plan.planner import make_plan
from buildtool.plan.selection import select
from tests.integration.publish.fake_github import fake_github
from tests.unit.publish.fake_dist import attestation_of, write_attestation

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
SELECTION = ("set=release", "platform=linux_x86_64", "package=sageattention")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Release Test", "-c", "user.email=release@example.invalid")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@dataclass(frozen=True)
class Scratch:
    root: Path
    dist: Path
    run: Callable[..., int]
    wheels: tuple[str, ...]

    def shelve(self, name: str) -> None:
        """Put a verified wheel on the shelf."""
        content = name.encode() * 10
        (self.dist / name).write_bytes(content)
        report = {"ok": True, "sha256": hashlib.sha256(content).hexdigest(), "level": "import"}
        (self.dist / name).with_suffix(".json").write_text(json.dumps(report))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scratch:
    root, dist = tmp_path / "project", tmp_path / "dist"
    for relative in git(ROOT, "ls-files", "-z").rstrip("\0").split("\0"):
        if not (ROOT / relative).is_file():
            continue
        (root / relative).parent.mkdir(parents=True, exist_ok=True)
        (root / relative).write_bytes((ROOT / relative).read_bytes())
    for stale in (root / "bench" / "results").glob("gpu_tests-*.json"):
        stale.unlink()
    dist.mkdir()
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(root, "init", "-q", "-b", "main")
    git(root, "config", "user.name", "Release Test")
    git(root, "config", "user.email", "release@example.invalid")
    git(root, "config", "user.signingkey", "")
    git(root, "remote", "add", "origin", "../remote.git")
    git(root, "add", "--all")
    git(root, "commit", "-q", "-m", "everything")
    monkeypatch.chdir(root)
    matrix = load_matrix(root / "matrix.toml")
    wheels = tuple(cell.wheel for cell in make_plan(matrix, select(matrix, SELECTION)).cells)

    def run(step: str, *words: str) -> int:
        return main(["release", step, *SELECTION, "--dist", str(dist), *words])

    return Scratch(root, dist, run, wheels)


def give_evidence(scratch: Scratch, folder: Path) -> None:
    digest = source_digest(snapshot_kernels(scratch.root, folder), scratch.root, "sageattention")
    results = scratch.root / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    document = {"taken": "2026-01-01T00:00:00+00:00", "source_digest": digest, "counts": {"passed": 3}}
    (results / "gpu_tests-scratch.json").write_text(json.dumps(document))
    git(scratch.root, "add", "--all")
    git(scratch.root, "commit", "-q", "-m", "evidence")


def test_an_unready_release_is_refused_with_every_reason(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    (scratch.root / "docker-bake.hcl").write_text("# edited by hand\n")
    assert scratch.run("check", "--json") == PublishError.exit_code
    said = [row["what"] for row in json.loads(capsys.readouterr().out)["obstacles"]]
    assert "docker-bake.hcl has uncommitted changes" in said
    assert "docker-bake.hcl is not what would be rendered" in said
    assert "no GPU results have every test passed" in said
    assert sum("is not verified" in line for line in said) == len(scratch.wheels)
    assert scratch.run("tag") == PublishError.exit_code
    assert git(scratch.root, "tag") == ""


def test_a_changed_wheel_does_not_count(scratch: Scratch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in scratch.wheels:
        scratch.shelve(name)
    (scratch.dist / scratch.wheels[0]).write_bytes(b"other")
    scratch.run("check")
    assert f"{scratch.wheels[0]} is not verified: its bytes are not those of its report" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_tag_is_signed_if_there_is_a_key(scratch: Scratch, tmp_path: Path) -> None:
    for name in scratch.wheels:
        scratch.shelve(name)
    give_evidence(scratch, tmp_path / "digest")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    git(scratch.root, "config", "gpg.format", "ssh")
    git(scratch.root, "config", "user.signingkey", str(key))
    assert scratch.run("tag") == 0
    (tmp_path / "signers").write_text(f"release@example.invalid {key.with_suffix('.pub').read_text()}")
    git(scratch.root, "config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))
    git(scratch.root, "tag", "--verify", "v2.2.0")


def test_from_ready_to_public(
    scratch: Scratch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in scratch.wheels:
        scratch.shelve(name)
    give_evidence(scratch, tmp_path / "digest")
    assert scratch.run("plan") == 0
    assert scratch.run("check") == 0
    assert scratch.run("publish", "--dry-run") == UsageError.exit_code  # nothing is tagged yet
    assert scratch.run("tag", "--dry-run") == 0
    assert git(scratch.root, "tag") == ""
    assert scratch.run("tag", "--push") == 0
    assert git(scratch.root, "ls-remote", "--tags", "--refs", "origin").strip().endswith("refs/tags/v2.2.0")
    capsys.readouterr()
    assert scratch.run("notes") == 0
    notes = capsys.readouterr().out
    assert all(name in notes for name in scratch.wheels)
    first = scratch.wheels[0]
    write_attestation(scratch.dist / first, attestation_of(first, "0" * 64))
    assert scratch.run("publish", "--dry-run") == PublishError.exit_code
    assert f"not of these bytes of {first}" in capsys.readouterr().err
    digest = hashlib.sha256((scratch.dist / first).read_bytes()).hexdigest()
    attestation = write_attestation(scratch.dist / first, attestation_of(first, digest))
    assert scratch.run("publish", "--dry-run") == 0
    with fake_github() as (api, world):
        monkeypatch.setenv("GITHUB_REPOSITORY", "o/r")
        monkeypatch.setenv("GITHUB_TOKEN", "secret")
        monkeypatch.setenv("GITHUB_API_URL", api)
        assert scratch.run("publish") == 0
        (public,) = world.releases.values()
        assert (public["tag_name"], public["draft"]) == ("v2.2.0", False)
        assert set(world.content) == {*scratch.wheels, attestation.name}
    assert scratch.run("tag", "--push") == 0  # the same version again is a rebuild
    assert git(scratch.root, "tag").split() == ["v2.2.0", "v2.2.0-build.1"]
