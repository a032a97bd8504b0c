"""Damaged declarations of every kind give ConfigError with places and remedies: no other exception, and no hang."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from buildtool.errors import ConfigError
from buildtool.plan.instances import parse_instances
from buildtool.plan.matrix import parse_matrix
from tests.unit.plan.test_instances import TEXT as INSTANCES

# A whole matrix in little: what is true of each table is true of ten of them.
MATRIX = """
[package.p]
version = "1.0.0"
pyproject = "pyproject.toml"
[platform.linux_x86_64]
os = "linux"
machine = "x86_64"
runner = "r"
[arch.sm_80]
cuda_minimum = "12.0"
gpus = "A"
[cuda."12.8"]
nvrtc = "nvidia-cuda-nvrtc-cu12==12.8.93"
runtime_headers = "nvidia-cuda-runtime-cu12==12.8.90"
crt_headers = "nvidia-cuda-nvcc-cu12==12.8.93"
archs = { x86_64 = ["sm_80"] }
min_driver = { linux = "525.60.13", windows = "528.33" }
[torch."2.8"]
releases = ["2.8.0"]
pythons = ["3.12"]
cuda = ["12.8"]
pypi_cuda = "12.8"
cxx_standard = 17
[set.default]
about = "all"
include = [{ torch = "2.8", platform = ["linux_x86_64"] }]
"""
PARSERS: dict[str, tuple[Callable[[str], object], str]] = {
    "matrix": (parse_matrix, MATRIX),
    "instances": (parse_instances, INSTANCES),
}
SCALARS = st.none() | st.booleans() | st.integers(-3, 99) | st.floats(allow_nan=False) | st.text(max_size=6)
WORDS = st.sampled_from(["12.8", "2.8", "3.12", "sm_90a", "linux_x86_64", "package", "torch", "..", "=="])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | WORDS, inner, max_size=3),
    max_leaves=6,
)
FUZZ = settings(max_examples=60, deadline=20_000)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    return [*((document, key) for key in keys), *(place for key in keys for place in places(document[key]))]


@pytest.mark.parametrize("kind", PARSERS)
def test_the_seed_is_good(kind: str) -> None:
    parse, text = PARSERS[kind]
    parse(text)


@pytest.mark.parametrize("kind", PARSERS)
@FUZZ
@given(data=st.data())
def test_any_value_anywhere(kind: str, data: st.DataObject) -> None:
    parse, text = PARSERS[kind]
    document = copy.deepcopy(tomllib.loads(text))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document) or [({}, "")]))
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                container[key] = data.draw(VALUES)
            case "remove" if key in container or isinstance(container, list):
                del container[key]
            case _ if isinstance(container, dict):
                container[data.draw(st.text(max_size=4) | WORDS)] = data.draw(VALUES)
    with suppress(ConfigError):
        parse(tomlkit.dumps(_writable(document)))


@pytest.mark.parametrize("kind", PARSERS)
@FUZZ
@given(data=st.data())
def test_any_damage_to_the_text(kind: str, data: st.DataObject) -> None:
    parse, text = PARSERS[kind]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    with suppress(ConfigError):
        parse(text[:start] + data.draw(st.text(max_size=12)) + text[end:])


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize(
    "text", ["a = " + "[" * 50_000, "a" + ".a" * 50_000 + " = 1", "[" * 9_000, f"a = {'[' * 300}{']' * 300}"]
)
def test_deep_nesting_is_an_error_like_any_other(kind: str, text: str) -> None:
    with pytest.raises(ConfigError):
        PARSERS[kind][0](text)


def _writable(value: Any) -> Any:
    """The value without what TOML has no word for."""
    if isinstance(value, dict):
        return {key: _writable(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_writable(inner) for inner in value if inner is not None]
    return value
