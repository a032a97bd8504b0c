"""A manifest signed with an SSH key, checked with OpenSSH's own verifier."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from buildtool.cli import main
from tests.unit.publish.fake_dist import cells_of, write_dist

pytestmark = pytest.mark.integration
if shutil.which("ssh-keygen") is None:
    pytest.skip("needs ssh-keygen", allow_module_level=True)


@pytest.fixture
def argv(root: Path, tmp_path: Path) -> list[str]:
    write_dist(cells_of(root, "torch=2.8", "cuda=12.8", "python=3.12", "package=sageattention"), tmp_path / "dist")
    return ["--project", str(root), "index", str(tmp_path / "dist"), "--out", str(tmp_path / "site")]


def accepted(manifest: bytes, signature: Path, signers: Path) -> bool:
    argv: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        signers,
        "-I",
        "maintainers",
        "-n",
        "wheels",
        "-s",
        signature,
    ]
    return subprocess.run(argv, input=manifest, capture_output=True, check=False).returncode == 0


def test_a_signed_manifest_is_accepted_and_a_changed_one_is_not(argv: list[str], tmp_path: Path) -> None:
    key, signers = tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f"maintainers {key.with_suffix('.pub').read_text()}")
    assert main([*argv, "--sign-key", str(key)]) == 0
    signature = tmp_path / "site/wheels.json.sig"
    manifest = (tmp_path / "site/wheels.json").read_bytes()
    assert accepted(manifest, signature, signers)
    assert not accepted(manifest.replace(b"280.128", b"290.128"), signature, signers)
    first = signature.read_bytes()
    assert main([*argv, "--sign-key", str(key)]) == 0
    assert signature.read_bytes() == first


def test_without_the_key_nothing_is_written(argv: list[str], tmp_path: Path) -> None:
    assert main([*argv, "--sign-key", str(tmp_path / "none")]) != 0
    assert not (tmp_path / "site").exists()
