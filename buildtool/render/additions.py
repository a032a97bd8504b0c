"""Adds declarations to the text of matrix.toml, keeping everything that stands there."""

from __future__ import annotations

import tomllib
from typing import Any

import tomlkit

from buildtool.errors import ConfigError, Fault, UsageError
from buildtool.plan.faults import nearest
from buildtool.plan.matrix import parse_matrix
from buildtool.plan.tags import minor_of, version_key


def add_torch(
    text: str,
    release: str,
    *,
    cuda: tuple[str, ...] = (),
    experimental_cuda: tuple[str, ...] = (),
    pypi_cuda: str = "",
    pythons: tuple[str, ...] = (),
    file: str = "matrix.toml",
) -> str:
    """The text with a PyTorch release in it.

    A patch of a declared minor joins its ``releases``. A new minor gets a table of its own behind the newest one, with
    that one's facts where none are given. The result is checked as a whole: ConfigError names what does not fit, such
    as a CUDA version that is not declared. Raises UsageError for a release that is there already.
    """
    facts = parse_matrix(text, file).facts
    document = tomlkit.parse(text)
    torches: Any = document["torch"]
    minor = minor_of(release)
    if len(version_key(release)) != len(version_key("0.0.0")):
        raise UsageError(f"{release!r} is no release of PyTorch", "write it in full, such as 2.15.0")
    if minor in facts.torch:
        if release in facts.torch[minor].releases:
            raise UsageError(f"torch {release} is declared already", "`plan torch=" + release + "` shows its cells")
        if cuda or experimental_cuda or pypi_cuda or pythons:
            raise UsageError(f"torch {minor} has its facts already", f'change [torch."{minor}"] in {file} by hand')
        ordered = sorted([*facts.torch[minor].releases, release], key=version_key)
        torches[minor]["releases"].insert(ordered.index(release), release)
        return _checked(tomlkit.dumps(document), file)
    last = max(facts.torch, key=version_key)
    model = facts.torch[last]
    table: dict[str, Any] = {
        "releases": [release],
        "pythons": list(pythons) or model.pythons,
        "cuda": list(cuda) or model.cuda,
    }
    if experimental_cuda or (not cuda and model.experimental_cuda):
        table["experimental_cuda"] = list(experimental_cuda) or model.experimental_cuda
    table["pypi_cuda"] = pypi_cuda or model.pypi_cuda
    table["cxx_standard"] = model.cxx_standard
    for version in (*table["cuda"], *table.get("experimental_cuda", ())):
        if version not in facts.cuda:
            hint = f"add its table with the pins of its toolchain first; {nearest(version, facts.cuda)}"
            raise ConfigError([Fault(file, "cuda", f"no CUDA {version} is declared", value=version, hint=hint)])
    lines = [f'[torch."{minor}"]', *(f"{key} = {_value(value)}" for key, value in table.items())]
    return _checked(_insert_after(text, f'[torch."{last}"]', "\n".join(lines)), file)


def _insert_after(text: str, header: str, block: str) -> str:
    """Put a block behind the table that starts with ``header``, separated by blank lines."""
    lines = text.splitlines()
    start = lines.index(header)
    end = start + 1
    while end < len(lines) and lines[end].strip() and not lines[end].startswith("["):
        end += 1
    return "\n".join([*lines[:end], "", *block.splitlines(), *lines[end:]]) + "\n"


def _value(value: Any) -> str:
    text: str = tomlkit.item(value).as_string()
    return text


def _checked(text: str, file: str) -> str:
    tomllib.loads(text)
    parse_matrix(text, file)
    return text
