"""Attestations by the tool that signs a release: those of one wheel each reach the index, one of several wheels cannot.

The signing service, which is on the network, is replaced by a key made here; everything else is the tool's own.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from buildtool.cli import main
from buildtool.errors import PublishError
from buildtool.publish.dist import PublishedWheel, read_dist
from tests.unit.publish.fake_dist import cells_of, write_dist

pytest.importorskip("pypi_attestations", reason="pip install pypi-attestations")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pypi_attestations import Attestation, Distribution, GitHubPublisher, Provenance
from sigstore.models import Bundle

pytestmark = pytest.mark.integration
SITE = "https://example.org/wheels/"
STATEMENT = "application/vnd.in-toto+json"


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def bundle_of(statement: bytes) -> str:
    """A Sigstore bundle of a statement, as signing in a workflow makes it; what the log says is made up."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "workflow")])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    signed = b"DSSEv1 %d %s %d %s" % (len(STATEMENT), STATEMENT.encode(), len(statement), statement)
    proof = {"logIndex": "1", "rootHash": text(b"r"), "treeSize": "2", "hashes": [], "checkpoint": {"envelope": "c"}}
    entry = {
        "logIndex": "1",
        "logId": {"keyId": text(b"l")},
        "kindVersion": {"kind": "dsse", "version": "0.0.1"},
        "integratedTime": "1",
        "inclusionPromise": {"signedEntryTimestamp": text(b"t")},
        "inclusionProof": proof,
        "canonicalizedBody": text(b"{}"),
    }
    document = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"certificate": {"rawBytes": text(certificate)}, "tlogEntries": [entry]},
        "dsseEnvelope": {
            "payload": text(statement),
            "payloadType": STATEMENT,
            "signatures": [{"sig": text(key.sign(signed, ec.ECDSA(hashes.SHA256())))}],
        },
    }
    return json.dumps(document)


class Signer:
    """Stands for Sigstore's."""

    def sign_dsse(self, statement: Any) -> Bundle:
        return Bundle.from_json(bundle_of(statement._contents))


def provenance_of(wheels: Sequence[PublishedWheel]) -> bytes:
    """The statement of GitHub's build provenance: one, with every file that the step was given."""
    subjects = [{"name": wheel.name, "digest": {"sha256": wheel.sha256}} for wheel in wheels]
    types = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1"}
    return json.dumps({**types, "subject": subjects, "predicate": {"buildDefinition": {}, "runDetails": {}}}).encode()


@pytest.fixture
def wheels(root: Path, tmp_path: Path) -> tuple[PublishedWheel, ...]:
    axes = ("torch=2.8", "cuda=12.8", "python=3.12", "platform=linux_x86_64,win_amd64")
    return read_dist(write_dist(cells_of(root, "package=sageattention", *axes), tmp_path / "dist"))


def make_index(root: Path, folder: Path) -> int:
    publisher = ("kind=GitHub", "repository=some/one", "workflow=release.yml")
    argv = ["--project", str(root), "index", str(folder / "dist"), "--out", str(folder / "site"), "--site-url", SITE]
    return main([*argv, "--publisher", *publisher])


def served(wheel: PublishedWheel, folder: Path) -> Provenance:
    page = json.loads((folder / "site" / wheel.channel / wheel.package / "index.json").read_text())
    (url,) = [file["provenance"] for file in page["files"] if file["filename"] == wheel.name]
    return Provenance.model_validate_json((folder / "site" / url.removeprefix(SITE)).read_bytes())


def test_what_is_signed_for_each_wheel_reaches_the_index(
    root: Path, wheels: tuple[PublishedWheel, ...], tmp_path: Path
) -> None:
    signer: Any = Signer()
    made = [Attestation.sign(signer, Distribution.from_file(wheel.path)) for wheel in wheels]
    for wheel, attestation in zip(wheels, made, strict=True):
        wheel.path.with_name(f"{wheel.name}.publish.attestation").write_text(attestation.model_dump_json())
    assert make_index(root, tmp_path) == 0
    for wheel, attestation in zip(wheels, made, strict=True):
        (bundle,) = served(wheel, tmp_path).attestation_bundles
        assert bundle.publisher == GitHubPublisher(repository="some/one", workflow="release.yml")
        assert bundle.attestations == [attestation]


def test_a_bundle_of_one_wheel_can_be_converted_and_of_several_not(
    root: Path, wheels: tuple[PublishedWheel, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, attestation = tmp_path / "bundle.json", wheels[0].path.with_name(f"{wheels[0].name}.slsa.attestation")
    convert = (sys.executable, "-m", "pypi_attestations", "convert", bundle, "--output-file", attestation)
    bundle.write_text(bundle_of(provenance_of(wheels)))
    subprocess.run(convert, check=True, capture_output=True)
    assert make_index(root, tmp_path) == PublishError.exit_code
    assert "one attestation of 2 files, and PEP 740 wants one for each" in capsys.readouterr().err
    attestation.unlink()
    bundle.write_text(bundle_of(provenance_of(wheels[:1])))
    subprocess.run(convert, check=True, capture_output=True)
    assert make_index(root, tmp_path) == 0
    (found,) = served(wheels[0], tmp_path).attestation_bundles
    assert found.attestations == [Attestation.model_validate_json(attestation.read_bytes())]
