"""Indexes, manifests and sites from verified wheels."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from buildtool.errors import ConfigError, PublishError
from buildtool.plan.cells import Cell
from buildtool.prove.package import load_causes
from buildtool.publish.dist import PublishedWheel, channel_of, read_dist
from buildtool.publish.environments import required, satisfying, stub_wheel
from buildtool.publish.index import MANIFEST, Hosting, render_indexes, render_manifest, render_reports
from buildtool.publish.page import render_page, system_of
from buildtool.publish.selftest import rows_of
from buildtool.publish.site import check_growth, published, read_previous, write_site
from tests.unit.publish.fake_dist import cells_of, write_dist, write_wheel


@pytest.fixture(scope="module")
def cells(root: Path) -> tuple[Cell, ...]:
    return cells_of(root, "set=release", "platform=linux_x86_64", "package=sageattention")


@pytest.fixture(scope="module")
def wheels(cells: tuple[Cell, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[PublishedWheel, ...]:
    return read_dist(write_dist(cells, tmp_path_factory.mktemp("dist")))


class Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


def test_a_channel_holds_one_cuda_and_one_torch(wheels: tuple[PublishedWheel, ...]) -> None:
    pages = render_indexes(wheels, Hosting())
    assert channel_of("12.8", "2.10.1") == "cu128/torch2.10"
    for minor in ("2.7", "2.8", "2.9"):
        (link,) = Links(pages[f"cu128/torch{minor}/sageattention/index.html"].decode()).found
        wheel = next(w for w in wheels if w.channel == f"cu128/torch{minor}")
        assert link["href"] == f"../../../files/{wheel.name}#sha256={wheel.sha256}"
        assert link["data-requires-python"] == ">=3.9"
        assert link["data-core-metadata"] == link["data-dist-info-metadata"] == f"sha256={wheel.metadata_sha256}"
        assert pages[f"files/{wheel.name}.metadata"] == wheel.metadata
        (project,) = Links(pages[f"cu128/torch{minor}/index.html"].decode()).found
        assert project["href"] == "sageattention/"


def test_the_json_pages_say_the_same(wheels: tuple[PublishedWheel, ...]) -> None:
    page: dict[str, Any] = json.loads(render_indexes(wheels, Hosting())["cu128/torch2.8/sageattention/index.json"])
    wheel = next(w for w in wheels if w.channel == "cu128/torch2.8")
    assert page["meta"] == {"api-version": "1.1"}
    assert page["versions"] == [wheel.version]
    assert page["files"] == [
        {
            "filename": wheel.name,
            "url": f"../../../files/{wheel.name}",
            "hashes": {"sha256": wheel.sha256},
            "size": wheel.size,
            "yanked": False,
            "requires-python": ">=3.9",
            "core-metadata": {"sha256": wheel.metadata_sha256},
            "dist-info-metadata": {"sha256": wheel.metadata_sha256},
        }
    ]


def test_wheels_may_be_elsewhere(wheels: tuple[PublishedWheel, ...]) -> None:
    hosting = Hosting(
        "https://example.org/v1", with_metadata=False, provenance={wheels[0].name: "https://example.org/p"}
    )
    pages = render_indexes(wheels, hosting)
    (link,) = Links(pages[f"{wheels[0].channel}/sageattention/index.html"].decode()).found
    assert link["href"] == f"https://example.org/v1/{wheels[0].name}#sha256={wheels[0].sha256}"
    assert link["data-provenance"] == "https://example.org/p"
    assert "data-core-metadata" not in link
    assert not any(name.startswith("files/") for name in pages)


def test_equal_input_gives_equal_bytes(wheels: tuple[PublishedWheel, ...]) -> None:
    back = tuple(reversed(wheels))
    assert render_indexes(wheels, Hosting()) == render_indexes(back, Hosting())
    assert render_manifest(wheels, Hosting()) == render_manifest(back, Hosting())


def test_nothing_unverified_goes_in(cells: tuple[Cell, ...], tmp_path: Path) -> None:
    def refusal() -> str:
        with pytest.raises(PublishError) as caught:
            read_dist(tmp_path)
        return str(caught.value)

    assert "no wheels" in refusal()
    path = write_wheel(cells[0], tmp_path)
    assert len(read_dist(tmp_path)) == 1
    report = json.loads(path.with_suffix(".json").read_text())
    for change, message in (
        ({"ok": False}, "did not pass"),
        ({"ok": "yes"}, "did not pass"),
        ({"sha256": "0"}, "not the file that was verified"),
        ({"cell": {}}, "cannot be read"),
        ({"cell": {**report["cell"], "wheel": "other.whl"}}, "report is of other.whl"),
    ):
        path.with_suffix(".json").write_text(json.dumps({**report, **change}))
        assert message in refusal()
    path.with_suffix(".json").unlink()
    assert "no verification report" in refusal()


def test_what_is_published_stays(wheels: tuple[PublishedWheel, ...]) -> None:
    before = published(render_manifest(wheels, Hosting()), "wheels.json")
    check_growth(before, wheels, allow_removal=False)
    with pytest.raises(PublishError, match=r"1 published wheels would disappear"):
        check_growth(before, wheels[1:], allow_removal=False)
    check_growth(before, wheels[1:], allow_removal=True)
    with pytest.raises(PublishError, match="other bytes"):
        check_growth(before, [replace(wheels[0], sha256="0"), *wheels[1:]], allow_removal=True)
    with pytest.raises(PublishError, match="no manifest"):
        published(b"[]", "x")


def test_a_site_is_replaced_whole(wheels: tuple[PublishedWheel, ...], tmp_path: Path) -> None:
    out = tmp_path / "site"
    assert read_previous(out, None) == {}
    write_site(out, {MANIFEST: render_manifest(wheels, Hosting()), "old/page": b"x"}, wheels)
    assert (out / "files" / wheels[0].name).read_bytes() == wheels[0].path.read_bytes()
    assert len(read_previous(out, None)) == len(wheels)
    write_site(out, {"new": b"y"})
    assert sorted(path.name for path in out.iterdir()) == [".nojekyll", "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    with pytest.raises(PublishError, match="does not exist"):
        read_previous(out, tmp_path / "gone.json")


def test_a_failed_write_leaves_the_old_site(tmp_path: Path) -> None:
    out = tmp_path / "site"
    write_site(out, {"page": b"old"})
    with pytest.raises(PublishError):
        write_site(out, {"page": b"new", "page/below": b"x"})
    assert (out / "page").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_the_manifest_has_plan_hashes_and_report(wheels: tuple[PublishedWheel, ...]) -> None:
    reports = render_reports(wheels)
    document = json.loads(render_manifest(wheels, Hosting()))
    assert document["channels"] == ["cu128/torch2.7", "cu128/torch2.8", "cu128/torch2.9"]
    for row, wheel in zip(document["wheels"], wheels, strict=True):
        assert row["sha256"] == wheel.sha256
        assert row["plan"]["pins"]["torch"] == f"torch=={row['plan']['torch']}"
        assert hashlib.sha256(reports[row["report"]["url"]]).hexdigest() == row["report"]["sha256"]
        assert json.loads(reports[row["report"]["url"]])["level"] == row["report"]["level"] == "import"


def test_the_page_holds_its_data(wheels: tuple[PublishedWheel, ...], root: Path) -> None:
    causes = load_causes(root)
    assert len(causes) >= 12
    hostile = replace(causes[0], cause="</script><script>alert(1)")
    page = render_page(render_manifest(wheels, Hosting()), [hostile, *causes], "https://example.org/")
    assert page.count("</script>") == 2
    start = page.index('id="data">') + len('id="data">')
    data = json.loads(page[start : page.index("</script>", start)])
    assert data["site"] == "https://example.org/"
    assert {wheel["torch"] for wheel in data["wheels"]} == {"2.7", "2.8", "2.9"}
    assert data["causes"][0]["cause"] == "</script><script>alert(1)"
    assert "http://" not in page
    with pytest.raises(ConfigError):
        load_causes(root / "docs")


@pytest.mark.parametrize(
    ("platform", "system"),
    [
        ("linux_x86_64", "Linux x86_64"),
        ("manylinux_2_28_x86_64", "Linux x86_64"),
        ("win_amd64", "Windows x86_64"),
        ("linux_aarch64", "Linux aarch64"),
    ],
)
def test_systems(platform: str, system: str) -> None:
    assert system_of(platform) == system


@pytest.mark.parametrize(
    "text", ["", "==12.8.93", ">=1.13.3", ">1.0,<2", "!=1.0", "~=3.4", "==3.*", "<0.5", ">=4.10,!=4.10", "<=0.0.1"]
)
def test_a_stub_satisfies_the_requirement(text: str) -> None:
    wanted = SpecifierSet(text)
    assert satisfying(wanted) in wanted


@pytest.mark.parametrize(("python", "names"), [("3.11", ["sympy"]), ("3.12", ["sympy", "setuptools"])])
def test_what_torch_requires_depends_on_the_environments_python(python: str, names: list[str]) -> None:
    metadata = (
        "Metadata-Version: 2.1\nName: torch\nRequires-Dist: sympy>=1.13\n"
        'Requires-Dist: setuptools; python_version >= "3.12"\nRequires-Dist: opt-einsum; extra == "opt"\n'
    )
    assert [r.name for r in required(metadata, python)] == names


def test_rows_and_stubs(wheels: tuple[PublishedWheel, ...], tmp_path: Path) -> None:
    rows = rows_of(json.loads(render_manifest(wheels, Hosting())))
    assert [row.build_tag for row in rows] == [wheel.cell["build_tag"] for wheel in wheels]
    first = stub_wheel(tmp_path / "a", "torch", "2.8.0").read_bytes()
    assert first == stub_wheel(tmp_path / "b", "torch", "2.8.0").read_bytes()
