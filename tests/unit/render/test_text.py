from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ConfigError
from buildtool.render.text import fill, replace_section

LINES = st.text("ab ", min_size=1).filter(str.strip)


def test_a_placeholder_inside_a_line() -> None:
    assert fill("image: @IMAGE@ # @WHY@\n", {"IMAGE": "a@b", "WHY": "c"}, "t") == "image: a@b # c\n"


def test_a_placeholder_alone_takes_its_indentation_along() -> None:
    assert fill("jobs:\n  @JOB@\n", {"JOB": "a:\n  b: 1\n\nc: 2\n"}, "t") == "jobs:\n  a:\n    b: 1\n\n  c: 2\n"


@given(st.lists(LINES, min_size=1), st.integers(0, 6))
def test_indentation_is_all_that_is_added(lines: list[str], depth: int) -> None:
    filled = fill(" " * depth + "@X@\n", {"X": "\n".join(lines)}, "t")
    assert [line.removeprefix(" " * depth) for line in filled.splitlines()] == lines


def test_unknown_and_unused_values_are_faults() -> None:
    with pytest.raises(ConfigError) as caught:
        fill("@A@ @B@", {"A": "", "C": ""}, "t.in")
    assert [(fault.file, fault.key) for fault in caught.value.faults] == [("t.in", "B"), ("t.in", "C")]


TEXT = "before\n<!-- x: begin -->\nold\n<!-- x: end -->\nafter\n"


def test_a_section_is_replaced_and_nothing_else() -> None:
    replaced = replace_section(TEXT, "x", "new\nlines\n", "README.md")
    assert replaced == "before\n<!-- x: begin -->\nnew\nlines\n<!-- x: end -->\nafter\n"
    assert replace_section(replaced, "x", "new\nlines\n", "README.md") == replaced


@pytest.mark.parametrize("text", ["", TEXT + TEXT, TEXT.replace("end", "begin"), "<!-- x: end --><!-- x: begin -->"])
def test_a_section_must_be_there_exactly_once(text: str) -> None:
    with pytest.raises(ConfigError, match="exactly once"):
        replace_section(text, "x", "", "README.md")
