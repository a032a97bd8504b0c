"""Damaged input of every kind gives findings or MalformedError: no other exception, and no hang."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildtool.prove.ar import read_ar
from buildtool.prove.archive import read_archive
from buildtool.prove.cubin import read_cubin
from buildtool.prove.library import read_library
from buildtool.prove.reader import MalformedError
from buildtool.prove.symbols import decode_index
from buildtool.prove.verify import verify_bytes
from tests.unit.prove import synthetic as s

GOOD_WHEEL = s.wheel().build()
SEEDS: dict[str, tuple[Callable[[bytes], object], tuple[bytes, ...]]] = {
    "zip": (read_archive, (GOOD_WHEEL,)),
    "ar": (read_ar, (s.ar([("a.cubin", b"x"), ("a_very_long_member_name.cubin", b"yy")]),)),
    "library": (read_library, (s.LibrarySpec().build(),)),
    "cubin": (read_cubin, tuple(path.read_bytes() for path in sorted(s.CUBINS.glob("*.cubin")))),
    "symbols": (decode_index, (s.symbols().encode(),)),
}
FUZZ = settings(max_examples=300, deadline=20_000)  # a hang, even on a busy machine


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with bytes flipped, overwritten, cut out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "number", "cut", "end", "double"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "number":
            value = draw(st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]))
            size = draw(st.sampled_from([1, 2, 4, 8]))
            data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 64))]
        elif kind == "end":
            del data[at:]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 64))]
    return bytes(data)


@pytest.mark.parametrize("kind", SEEDS)
@FUZZ
@given(data=st.data())
def test_a_parser_says_malformed_or_succeeds(kind: str, data: st.DataObject) -> None:
    parse, seeds = SEEDS[kind]
    with suppress(MalformedError):
        parse(data.draw(damaged(seeds)))


@pytest.mark.parametrize("kind", SEEDS)
@FUZZ
@given(junk=st.binary(max_size=400))
@example(junk=b"")
def test_a_parser_survives_junk(kind: str, junk: bytes) -> None:
    with suppress(MalformedError):
        SEEDS[kind][0](junk)


def test_a_long_name_has_plain_digits() -> None:
    archive = SEEDS["ar"][1][0]
    (place,) = re.findall(rb"/0 {14}", archive)
    odd = archive.replace(place, "/³".encode("latin-1") + b" " * 14)  # digits to str.isdigit, but not to int
    assert [member.name for member in read_ar(odd)][-1] == "/³"


@FUZZ
@given(data=damaged((GOOD_WHEEL,)))
def test_a_damaged_wheel_gives_findings(data: bytes) -> None:
    report = verify_bytes(s.cell().wheel, data, s.cell(), s.INSTANCES, symbols=s.symbols())
    json.dumps(report.to_json())
    if data != GOOD_WHEEL and report.ok:
        # What may change without harm: fields that no installer reads, such as the version that made the entry.
        assert read_archive(data).contents == read_archive(GOOD_WHEEL).contents


@pytest.mark.parametrize(
    "member",
    [s.LIBRARY, "sageattention/_native/cubins/sm_80.ar", s.STAMP, f"{s.DIST_INFO}/METADATA", f"{s.DIST_INFO}/WHEEL",
     next(name for name in s.wheel().files if name.endswith(".cdx.json"))],
)  # fmt: skip
@settings(FUZZ, max_examples=120)
@given(data=st.data())
def test_a_wheel_with_one_damaged_member_gives_findings(member: str, data: st.DataObject) -> None:
    wheel = s.wheel()
    content = wheel.members()[member]
    wheel.raw[member] = data.draw(damaged((content,)))
    report = verify_bytes(wheel.filename, wheel.build(), wheel.cell, s.INSTANCES, symbols=s.symbols())
    json.dumps(report.to_json())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@FUZZ
@given(
    stamp=st.dictionaries(st.sampled_from([*s.wheel().stamp, "extra"]), JSON),
    sbom=st.fixed_dictionaries(
        {"bomFormat": st.just("CycloneDX"), "specVersion": st.just("1.6")},
        optional={"metadata": JSON, "components": JSON},
    ),
)
def test_any_json_in_record_and_sbom_gives_findings(stamp: dict[str, object], sbom: dict[str, object]) -> None:
    wheel = s.wheel()
    wheel.stamp.update(stamp)
    wheel.files[next(name for name in wheel.files if name.endswith(".cdx.json"))] = json.dumps(sbom).encode()
    report = verify_bytes(wheel.filename, wheel.build(), wheel.cell, s.INSTANCES, symbols=s.symbols())
    assert not report.ok


@pytest.mark.parametrize("depth", [10_000, 200_000])
def test_deeply_nested_json_is_malformed(depth: int) -> None:
    wheel = s.wheel()
    wheel.raw[s.STAMP] = b"[" * depth
    report = verify_bytes(wheel.filename, wheel.build(), wheel.cell, s.INSTANCES, symbols=s.symbols())
    assert [finding.code for finding in report.findings] == ["stamp.malformed"]
