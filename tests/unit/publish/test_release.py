from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import PublishError
from buildtool.plan.cells import Cell, Combo, Pins
from buildtool.publish.release import Asset, State, Wheel, changes, next_tag, notes, obstacles, upload_plan

CELL = Cell(
    combo=Combo("sageattention", "2.8.0", "12.8", "3.12", "linux_x86_64"),
    version="2.2.0",
    build_tag="280.128",
    wheel="sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl",
    archs=("sm_80", "sm_90a"),
    pins=Pins("torch==2.8.0", "nvrtc==1", "runtime==1", "crt==1"),
    torch_requirement="torch==2.8.*",
    torch_index="pypi",
    cxx_standard=17,
    cxx11_abi=True,
    min_driver="525.60.13",
)
WHEEL = Wheel(CELL.wheel, "ab" * 32, 1000, "import")
CHANGELOG = "# Changelog\n\n## 2.2.0\n\nFirst wheels.\n\n## 2.1.0\n\nOlder.\n"
READY = State(
    version="2.2.0",
    tags=frozenset(),
    stale=(),
    dirty=(),
    wheels={WHEEL.name: WHEEL},
    unverified={},
    evidence_digest="sha256:1",
    kernel_digest="sha256:1",
    changelog=CHANGELOG,
)


def test_first_tag_is_the_version_and_rebuilds_count_up() -> None:
    assert next_tag("2.2.0", []) == "v2.2.0"
    assert next_tag("2.2.0", ["v2.2.0"]) == "v2.2.0-build.1"
    assert next_tag("2.2.0", ["v2.2.0", "v2.2.0-build.9", "v2.2.0-build.10", "v2.2.1", "junk"]) == "v2.2.0-build.11"


@given(st.integers(min_value=0, max_value=30))
def test_a_tag_is_never_given_twice(count: int) -> None:
    tags: list[str] = []
    for _ in range(count + 1):
        tags.append(next_tag("2.2.0", tags))
    assert len(set(tags)) == len(tags)


def test_changes_are_one_section() -> None:
    assert changes(CHANGELOG, "2.2.0") == "First wheels."
    assert changes(CHANGELOG, "2.1.0") == "Older."
    assert changes(CHANGELOG, "2.2") == ""


def test_nothing_stands_in_the_way_of_a_ready_release() -> None:
    assert obstacles([CELL], READY) == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"stale": ("docker-bake.hcl",)}, "docker-bake.hcl is not what would be rendered"),
        ({"dirty": ("matrix.toml",)}, "matrix.toml has uncommitted changes"),
        ({"wheels": {}}, f"{CELL.wheel} is not verified: it is not there"),
        ({"wheels": {}, "unverified": {CELL.wheel: "no report"}}, f"{CELL.wheel} is not verified: no report"),
        ({"evidence_digest": ""}, "no GPU results have every test passed"),
        ({"evidence_digest": "sha256:0"}, "GPU results are of source sha256:0, the kernels are sha256:1"),
        ({"changelog": "# Changelog\n"}, "CHANGELOG.md says nothing of 2.2.0"),
        ({"wheels": {WHEEL.name: dataclasses.replace(WHEEL, size=2**31)}}, "2,147,483,648 bytes"),
        (
            {"wheels": {WHEEL.name: WHEEL} | {f"w{i}": dataclasses.replace(WHEEL, name=f"w{i}") for i in range(999)}},
            "1000",
        ),
    ],
)
def test_each_obstacle_is_named(change: dict[str, object], what: str) -> None:
    (obstacle,) = obstacles([CELL], dataclasses.replace(READY, **change))  # type: ignore[arg-type]
    assert what in obstacle.what
    assert obstacle.remedy


def test_notes_list_verified_wheels_only() -> None:
    other = dataclasses.replace(CELL, wheel="sageattention-2.2.0-290.128-cp312-cp312-linux_x86_64.whl")
    text = notes("v2.2.0", [CELL, other], READY.wheels, CHANGELOG, "2.2.0")
    assert "First wheels." in text
    assert WHEEL.sha256 in text
    assert "290.128" not in text


def test_upload_plan_skips_what_is_there_and_replaces_what_was_cut_off() -> None:
    other = dataclasses.replace(WHEEL, name="other.whl")
    remote = [
        Asset(1, WHEEL.name, WHEEL.size, WHEEL.sha256, complete=True),
        Asset(2, "other.whl", 0, "", complete=False),
    ]
    plan = upload_plan({WHEEL.name: WHEEL, other.name: other}, remote)
    assert (plan.missing, plan.broken) == (("other.whl",), (2,))


@pytest.mark.parametrize(("size", "digest"), [(WHEEL.size, "cd" * 32), (WHEEL.size + 1, "")])
def test_different_bytes_are_never_overwritten(size: int, digest: str) -> None:
    with pytest.raises(PublishError, match="other bytes"):
        upload_plan({WHEEL.name: WHEEL}, [Asset(1, WHEEL.name, size, digest, complete=True)])
