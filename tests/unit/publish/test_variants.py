"""Wheel variants: the label, the bytes, the page, and what the reference resolver chooses of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from buildtool.cli import main
from buildtool.plan.cells import Cell
from buildtool.publish.dist import PublishedWheel, read_dist
from buildtool.publish.variants import label_of, make_variants, render_variants
from tests.unit.publish.fake_dist import cells_of, write_dist

resolver: Any = pytest.importorskip("variantlib.resolver.lib", reason="pip install variantlib")
models: Any = pytest.importorskip("variantlib.models.variant")
variants_json: Any = pytest.importorskip("variantlib.variants_json")


@pytest.fixture(scope="module")
def cells(root: Path) -> tuple[Cell, ...]:
    axes = ("torch=2.8,2.11", "cuda=12.6,12.8,13.0", "package=sageattention", "python=3.12")
    return cells_of(root, *axes, "platform=linux_x86_64,win_amd64")


@pytest.fixture(scope="module")
def wheels(cells: tuple[Cell, ...], tmp_path_factory: pytest.TempPathFactory) -> tuple[PublishedWheel, ...]:
    return read_dist(write_dist(cells, tmp_path_factory.mktemp("dist")))


@pytest.fixture(scope="module")
def page(wheels: tuple[PublishedWheel, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return render_variants(make_variants(wheels, tmp_path_factory.mktemp("variants")))


def test_every_cell_of_the_matrix_has_a_valid_label_of_its_own(root: Path, tmp_path: Path) -> None:
    wheels = read_dist(write_dist(cells_of(root, "set=all", "platform=linux_x86_64", "python=3.12"), tmp_path))
    labels = [label_of(wheel) for wheel in wheels]
    assert len(set(labels)) == len(labels)
    assert all(1 <= len(label) <= 16 for label in labels)


def test_a_variant_is_the_wheel_with_one_more_file(wheels: tuple[PublishedWheel, ...], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (variant,) = make_variants(wheels[:1], tmp_path / "a")
    label = label_of(wheels[0])
    assert variant.name == f"{wheels[0].name.removesuffix('.whl')}-{label}.whl"
    assert make_variants(wheels[:1], tmp_path / "b")[0].sha256 == variant.sha256
    with zipfile.ZipFile(wheels[0].path) as before, zipfile.ZipFile(variant.path) as after:
        (added,) = set(after.namelist()) - set(before.namelist())
        assert added.endswith(".dist-info/variant.json")
        assert set(before.namelist()) < set(after.namelist())
        same = [name for name in before.namelist() if not name.endswith(("/RECORD", "/WHEEL"))]
        assert all(before.read(name) == after.read(name) for name in same)
        assert list(json.loads(after.read(added))["variants"]) == [label]
        record = next(name for name in after.namelist() if name.endswith("/RECORD"))
        assert f"{added},sha256=" in after.read(record).decode()


def test_the_page_links_the_wheels_and_their_properties(
    wheels: tuple[PublishedWheel, ...], page: dict[str, bytes]
) -> None:
    listing = json.loads(page["variants/sageattention/index.json"])
    names = {file["filename"] for file in listing["files"]}
    assert len(names) == len(wheels) + 1
    assert "sageattention-2.2.0-variants.json" in names
    assert b"sageattention-2.2.0-variants.json#sha256=" in page["variants/sageattention/index.html"]
    assert listing["versions"] == ["2.2.0"]
    properties = json.loads(page["variants/sageattention/sageattention-2.2.0-variants.json"])
    assert set(properties["variants"]) == set(map(label_of, wheels))
    assert render_variants(()) == {}


@pytest.mark.parametrize(
    ("torch", "newest_cuda", "chosen"),
    [
        ("2.8.0", "13.0", "cu128_torch2.8"),
        ("2.8.0", "12.8", "cu128_torch2.8"),
        ("2.8.1", "12.6", "cu126_torch2.8"),
        ("2.11.0", "13.0", "cu130_torch2.11"),
        ("2.11.0", "12.8", "cu128_torch2.11"),
        ("2.10.0", "13.0", "null"),
        ("2.8.0", "12.4", "null"),
    ],
)
def test_the_reference_resolver_takes_the_torch_that_is_there(
    page: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, torch: str, newest_cuda: str, chosen: str
) -> None:
    known = ("13.0", "12.9", "12.8", "12.6", "12.4")
    monkeypatch.setenv("VARIANT_ABI_DEPENDENCY", f"torch=={torch}")
    document = json.loads(page["variants/sageattention/sageattention-2.2.0-variants.json"])
    read = variants_json.VariantsJson(document)
    driver = [
        models.VariantProperty("nvidia", "cuda_version_lower_bound", cuda) for cuda in known[known.index(newest_cuda) :]
    ]
    order = resolver.sort_and_filter_supported_variants(
        list(read.variants.values()), driver, namespace_priorities=read.namespace_priorities
    )
    assert order[0].label == chosen


def test_the_flag(root: Path, wheels: tuple[PublishedWheel, ...], tmp_path: Path) -> None:
    argv = ["--project", str(root), "index", str(wheels[0].path.parent), "--out", str(tmp_path / "site")]
    assert main([*argv, "--variants", "--base-url", "https://example.org/"]) == 2
    assert main(argv) == 0
    assert not (tmp_path / "site/variants").exists()
    assert main([*argv, "--variants"]) == 0
    assert len(list((tmp_path / "site/files").glob("*.whl"))) == 2 * len(wheels)
    assert (tmp_path / "site/variants/sageattention/index.html").is_file()
