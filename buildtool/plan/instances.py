"""kernels/instances.toml: the only list of kernel instances, and which architectures each is compiled for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buildtool.errors import ConfigError, Fault
from buildtool.plan.locate import read_toml
from buildtool.plan.tags import version_key

_IDENTIFIER = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*\Z")
_FAMILY_KEYS = frozenset({"source", "packages", "archs", "axes", "exclude", "defines", "cuda_minimum"})


@dataclass(frozen=True, order=True)
class Instance:
    """One kernel: an ``extern "C"`` entry compiled from one source with one set of ``-D`` parameters.

    ``name`` is at once the entry's symbol, the name of its cubin, and what the launcher asks for.
    """

    name: str
    family: str
    source: str
    """Path below ``kernels/``."""
    defines: tuple[tuple[str, str], ...]
    archs: frozenset[str]
    packages: frozenset[str]
    cuda_minimum: str = "12.0"
    """First CUDA version that compiles it; wheels of older ones do without."""


def parse_instances(text: str, file: str = "kernels/instances.toml") -> tuple[Instance, ...]:
    """Parse instances.toml. Raises ConfigError with every fault found.

    A family is a table ``[family]`` with ``source``, ``packages``, ``archs`` and ``axes``, and ``cuda_minimum`` where
    it needs instructions that came after CUDA 12.0. ``axes`` is an array of ``{ macro, values }``, where ``values``
    maps the fragment that appears in the instance's name to the macro's value.
    The instances are the product of the axes in the order written, less ``exclude`` (an array of tables macro → value;
    an instance that matches all pairs of one table is left out).
    """
    document = read_toml(text, file)
    faults: list[Fault] = []
    instances: list[Instance] = []
    for family, table in document.items():
        try:
            instances.extend(_expand(family, table))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            faults.append(Fault(file, family, _explain(error)))
    seen: set[str] = set()
    for instance in instances:
        if instance.name in seen:
            faults.append(Fault(file, instance.family, f"instance {instance.name} is declared twice"))
        seen.add(instance.name)
    if faults:
        raise ConfigError(faults)
    return tuple(sorted(instances))


def for_arch(instances: tuple[Instance, ...], package: str, arch: str, cuda: str) -> tuple[Instance, ...]:
    """The instances that a wheel of ``package`` built with ``cuda`` must contain for ``arch``."""
    able = version_key(cuda)
    return tuple(
        instance
        for instance in instances
        if arch in instance.archs and package in instance.packages and version_key(instance.cuda_minimum) <= able
    )


def _minor(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d+\.\d+", value):
        raise ValueError(f'cuda_minimum is written like "12.8", not {value!r}')
    return value


def _explain(error: Exception) -> str:
    return f"missing key {error}" if isinstance(error, KeyError) else str(error)


def _expand(family: str, table: Mapping[str, Any]) -> Iterator[Instance]:
    if not isinstance(table, Mapping):
        raise TypeError("expected a table")
    if unknown := sorted(set(table) - _FAMILY_KEYS):
        raise ValueError(f"unknown keys {', '.join(unknown)}; known are {', '.join(sorted(_FAMILY_KEYS))}")
    axes = [(axis["macro"], dict(axis["values"])) for axis in table.get("axes", [])]
    excluded = [dict(row) for row in table.get("exclude", [])]
    common = tuple((str(k), str(v)) for k, v in sorted(table.get("defines", {}).items()))
    for choice in itertools.product(*(values.items() for _, values in axes)):
        macros = {macro: value for (macro, _), (_, value) in zip(axes, choice, strict=True)}
        if any(all(macros.get(macro) == value for macro, value in row.items()) for row in excluded):
            continue
        name = "_".join([family, *(fragment for fragment, _ in choice)])
        if not _IDENTIFIER.match(name):
            raise ValueError(f"{name!r} is not a lower-case C identifier")
        yield Instance(
            name=name,
            family=family,
            source=str(table["source"]),
            defines=(*common, *((macro, str(value)) for macro, value in macros.items()), ("ENTRY", name)),
            archs=frozenset(map(str, table["archs"])),
            packages=frozenset(map(str, table["packages"])),
            cuda_minimum=_minor(table.get("cuda_minimum", Instance.cuda_minimum)),
        )
