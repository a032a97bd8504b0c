from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename

from buildtool.plan import tags

NUMBER = st.integers(0, 40)
RELEASES = st.builds("{}.{}.{}".format, st.integers(1, 9), NUMBER, NUMBER)
CUDAS = st.builds("{}.{}".format, st.integers(11, 14), st.integers(0, 12))
PYTHONS = st.builds("3.{}{}".format, st.integers(8, 20), st.sampled_from(["", "t"]))
PLATFORMS = st.sampled_from(["linux_x86_64", "linux_aarch64", "win_amd64", "manylinux_2_28_x86_64"])
NAMES = st.from_regex(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", fullmatch=True)


def test_the_tags_users_know() -> None:
    assert tags.build_tag("2.8.0", "12.8") == "280.128"
    assert tags.build_tag("2.11.0", "13.0") == "2110.130"
    name = tags.wheel_filename("sageattention", "2.2.0", "280.128", "3.12", "linux_x86_64")
    assert name == "sageattention-2.2.0-280.128-cp312-cp312-linux_x86_64.whl"


def test_free_threaded_python_has_its_own_abi() -> None:
    assert tags.interpreter_tags("3.13t") == ("cp313", "cp313t")


@given(NAMES, RELEASES, RELEASES, CUDAS, PYTHONS, PLATFORMS)
def test_filenames_are_read_back(name: str, version: str, torch: str, cuda: str, python: str, platform: str) -> None:
    tag = tags.build_tag(torch, cuda)
    filename = tags.wheel_filename(name, version, tag, python, platform)
    assert tags.parse_filename(filename) == (name, version, tag, python, platform)


@given(st.sets(st.tuples(RELEASES, CUDAS), min_size=1))
def test_decode_inverts_build_tag_or_says_that_it_cannot(pairs: set[tuple[str, str]]) -> None:
    for pair in pairs:
        tag = tags.build_tag(*pair)
        if sum(tags.build_tag(*other) == tag for other in pairs) == 1:
            assert tags.decode(tag, pairs) == pair
        else:
            with pytest.raises(ValueError, match="ambiguous"):
                tags.decode(tag, pairs)


def test_decode_names_the_pairs_that_share_a_tag() -> None:
    with pytest.raises(ValueError, match=r"2\.1\.10 with CUDA 12\.8 and torch 2\.11\.0 with CUDA 12\.8"):
        tags.decode("2110.128", [("2.11.0", "12.8"), ("2.1.10", "12.8")])


def test_decode_of_an_unknown_tag() -> None:
    with pytest.raises(ValueError, match=r"no declared build has tag 999\.99"):
        tags.decode("999.99", [("2.8.0", "12.8")])


@pytest.mark.parametrize("bad", ["", "2.8.0rc1", "2..8", "v2.8", "2.8.", "2.8 "])
def test_build_tag_refuses_what_is_no_dotted_number(bad: str) -> None:
    with pytest.raises(ValueError, match="dotted version"):
        tags.build_tag(bad, "12.8")


@pytest.mark.parametrize(
    "filename",
    [
        "sageattention-2.2.0-cp312-cp312-linux_x86_64.whl",  # no build tag
        "sageattention-2.2.0-280.128-py3-none-any.whl",
        "sageattention-2.2.0-280.128-cp39-abi3-linux_x86_64.whl",
        "sageattention-2.2.0-280.128-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "sageattention.zip",
    ],
)
def test_other_wheels_are_not_ours(filename: str) -> None:
    with pytest.raises(ValueError, match="sageattention"):
        tags.parse_filename(filename)


def order(*builds: tuple[str, str]) -> list[tuple[str, str]]:
    """How an installer sorts these builds, lowest first."""
    names = {
        parse_wheel_filename(tags.wheel_filename("x", "1.0.0", tags.build_tag(*b), "3.12", "any"))[2]: b for b in builds
    }
    return [names[tag] for tag in sorted(names)]


def test_hazard_the_tail_sorts_as_a_string() -> None:
    assert order(("2.8.0", "12.8"), ("2.8.0", "12.10")) == [("2.8.0", "12.10"), ("2.8.0", "12.8")]


def test_hazard_a_new_major_sorts_below_a_long_minor() -> None:
    assert order(("3.0.0", "14.0"), ("2.10.0", "12.8")) == [("3.0.0", "14.0"), ("2.10.0", "12.8")]


@given(st.lists(RELEASES, min_size=2))
def test_version_key_orders_as_packaging_does(releases: list[str]) -> None:
    from packaging.version import Version  # noqa: PLC0415

    assert sorted(releases, key=tags.version_key) == sorted(releases, key=Version)


def test_free_threaded_sorts_next_to_its_twin() -> None:
    assert sorted(["3.14", "3.13t", "3.9", "3.13"], key=tags.version_key) == ["3.9", "3.13", "3.13t", "3.14"]
