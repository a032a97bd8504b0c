from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from buildtool.plan.locate import KeyPath, line_of, locate, show_path

TEXT = '''\
# comment [not.a.table] x = 1
top = "a # b"   # one

[table."12.8"]  # four
list = [ # five
    "]", '}',
    { key = 1, 'other key' = [ 1, 2 ] },  # seven
]
multi = """
fake = 1
[fake]
"""
after = 2024-01-01T00:00:00Z

[[rows]]
x = { y = "z" }
[[rows]]
x.y.z = 1e3
[rows.sub]
w = \'\'\'
[no]\'\'\'
'''


def paths(value: Any, path: KeyPath = ()) -> set[KeyPath]:
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return {path for path in [path] if path}.union(*(paths(child, (*path, key)) for key, child in children))


def test_lines_of_an_awkward_document() -> None:
    lines = locate(TEXT)
    expected = {
        ("top",): 2,
        ("table",): 4,
        ("table", "12.8"): 4,
        ("table", "12.8", "list"): 5,
        ("table", "12.8", "list", 0): 6,
        ("table", "12.8", "list", 2): 7,
        ("table", "12.8", "list", 2, "other key", 1): 7,
        ("table", "12.8", "after"): 13,
        ("rows", 0): 15,
        ("rows", 0, "x", "y"): 16,
        ("rows", 1): 17,
        ("rows", 1, "x", "y", "z"): 18,
        ("rows", 1, "sub", "w"): 20,
    }
    assert {path: lines.get(path) for path in expected} == expected


def test_exactly_the_paths_that_tomllib_sees() -> None:
    assert set(locate(TEXT)) == paths(tomllib.loads(TEXT))


def test_exactly_the_paths_of_the_matrix(root: Path) -> None:
    text = (root / "matrix.toml").read_text()
    assert set(locate(text)) == paths(tomllib.loads(text))


VALUES = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text("ab\"'\\#=[]{},. \t", max_size=8) | st.floats(0, 1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.-\" '", max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), VALUES, max_size=4))
def test_exactly_the_paths_of_any_document(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    assert set(locate(text)) == paths(tomllib.loads(text))


def test_a_missing_key_has_the_line_of_its_table() -> None:
    lines = locate(TEXT)
    assert line_of(lines, ("table", "12.8", "absent", 3)) == 4
    assert line_of(lines, ("absent",)) is None


def test_paths_are_shown_as_toml_spells_them() -> None:
    assert show_path(("torch", "2.8", "cuda", 1)) == 'torch."2.8".cuda[1]'
