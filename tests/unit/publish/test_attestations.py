"""PEP 740 attestations beside wheels: those of the wheel go in, all others stop the index."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildtool.cli import main
from buildtool.errors import PublishError, UsageError
from buildtool.publish.attestations import parse_publisher, provenance_urls, read_provenance
from buildtool.publish.dist import PublishedWheel, read_dist
from tests.unit.publish.fake_dist import attestation_of, cells_of, write_attestation, write_dist

WORDS = ["kind=GitHub", "repository=some/one", "workflow=release.yml"]


@pytest.fixture
def wheels(root: Path, tmp_path: Path) -> tuple[PublishedWheel, ...]:
    axes = ("torch=2.8", "cuda=12.8", "python=3.12", "platform=linux_x86_64,win_amd64")
    cells = cells_of(root, "package=sageattention", *axes)
    return read_dist(write_dist(cells, tmp_path / "dist"))


def attestation(wheel: PublishedWheel, **changes: Any) -> dict[str, Any]:
    return attestation_of(wheel.name, wheel.sha256, **changes)


def put(wheel: PublishedWheel, document: Any) -> None:
    write_attestation(wheel.path, document)


def test_wheels_without_attestations_need_nothing(wheels: tuple[PublishedWheel, ...]) -> None:
    assert read_provenance(wheels, {}) == {}
    assert provenance_urls({}, "") == {}


def test_an_attestation_is_wrapped_with_its_publisher(wheels: tuple[PublishedWheel, ...]) -> None:
    put(wheels[0], attestation(wheels[0]))
    publisher = parse_publisher(WORDS)
    found = read_provenance(wheels, publisher)
    (bundle,) = json.loads(found[wheels[0].name])["attestation_bundles"]
    assert bundle == {"publisher": publisher, "attestations": [attestation(wheels[0])]}
    assert provenance_urls(found, "https://example.org/w/") == {
        wheels[0].name: f"https://example.org/w/provenance/{wheels[0].name}.json"
    }
    with pytest.raises(UsageError, match="absolute"):
        provenance_urls(found, "")
    with pytest.raises(PublishError, match="who made it"):
        read_provenance(wheels, {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda w: attestation(w, subject=[{"name": w.name, "digest": {"sha256": "0" * 64}}]), "not of these bytes"),
        (lambda w: attestation(w, subject=[{"name": "x", "digest": {"sha256": w.sha256}}]), "not of these bytes"),
        (lambda w: attestation(w, subject=[]), "not of these bytes"),
        (lambda w: attestation(w, subject=2 * [{"name": w.name, "digest": {"sha256": w.sha256}}]), "one for each"),
        (lambda w: {**attestation(w), "version": 2}, "not of these bytes"),
        (lambda w: {**attestation(w), "envelope": {"statement": "?", "signature": ""}}, "no attestation"),
        (lambda _: [], "no attestation"),
    ],
)
def test_any_other_attestation_stops_the_index(
    wheels: tuple[PublishedWheel, ...], make: Callable[[PublishedWheel], Any], message: str
) -> None:
    put(wheels[0], make(wheels[0]))
    with pytest.raises(PublishError, match=message):
        read_provenance(wheels, parse_publisher(WORDS))


def test_an_attestation_without_its_wheel_stops_the_index(wheels: tuple[PublishedWheel, ...]) -> None:
    put(wheels[0], attestation(wheels[0]))
    with pytest.raises(PublishError, match="beside no wheel"):
        read_provenance(wheels[1:], parse_publisher(WORDS))


@pytest.mark.parametrize("words", [["repository=o/n"], ["kind"], ["kind=GitHub", "x"]])
def test_a_publisher_has_a_kind(words: list[str]) -> None:
    with pytest.raises(UsageError, match="kind="):
        parse_publisher(words)


def test_the_site_links_it(root: Path, wheels: tuple[PublishedWheel, ...], tmp_path: Path) -> None:
    put(wheels[0], attestation(wheels[0]))
    out = tmp_path / "site"
    argv = ["--project", str(root), "index", str(tmp_path / "dist"), "--out", str(out)]
    assert main(argv) != 0
    assert not out.exists()
    assert main([*argv, "--site-url", "https://example.org/", "--publisher", *WORDS]) == 0
    url = f"https://example.org/provenance/{wheels[0].name}.json"
    page = json.loads((out / wheels[0].channel / "sageattention/index.json").read_text())
    assert [file.get("provenance") for file in page["files"]] == [url if w is wheels[0] else None for w in wheels]
    assert f'data-provenance="{url}"' in (out / wheels[0].channel / "sageattention/index.html").read_text()
    assert json.loads((out / f"provenance/{wheels[0].name}.json").read_text())["version"] == 1
    assert json.loads((out / "wheels.json").read_text())["wheels"][0]["provenance"] == url
