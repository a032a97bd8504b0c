"""Selections: which cells of the matrix a command is about, as ``key=value`` words."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from buildtool.errors import UsageError
from buildtool.plan.cells import Combo
from buildtool.plan.faults import nearest
from buildtool.plan.matrix import AXES, Matrix, sort
from buildtool.plan.tags import minor_of

KEYS = (*AXES, "set")
DEFAULT_SET = "default"


def select(matrix: Matrix, words: Sequence[str]) -> tuple[Combo, ...]:
    """The combos that ``words`` choose, in canonical order; never empty.

    A word is ``key=value[,value…]``; a key may come again. Values of one key are alternatives, keys restrict each
    other. ``torch=2.8`` stands for every release of 2.8, everything else is exact.

    ``set=`` names the sets to choose from. Without it the sets are looked at in the order of the file: ``default``
    first, then one set after the other is added until every value named is found, and last of all everything the facts
    allow. No words at all mean the set ``default``.

    Raises UsageError for a word that is no selection, a key or value that does not exist (naming the nearest one that
    does), and a selection that no declared cell fits.
    """
    wanted = parse(matrix, words)
    chosen = wanted.pop("set", [])
    if chosen:
        pools = [{combo for name in chosen for combo in matrix.sets[name]}]
    else:
        names = [DEFAULT_SET, *(name for name in matrix.sets if name != DEFAULT_SET)]
        pools = [{c for name in names[: n + 1] for c in matrix.sets.get(name, ())} for n in range(len(names))]
        pools.append(set(matrix.combos))
    for pool in pools:
        found = [combo for combo in pool if all(_any(axis, values, combo) for axis, values in wanted.items())]
        if found and _all_found(wanted, found):
            return tuple(sort(found))
    raise UsageError(*_nothing(wanted, chosen, pools[-1]))


def parse(matrix: Matrix, words: Iterable[str]) -> dict[str, list[str]]:
    """The words as key → values, each value checked against what is declared."""
    wanted: dict[str, list[str]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not a selection", f"write key=value; keys are {', '.join(KEYS)}")
        if key not in KEYS:
            raise UsageError(f"unknown key {key!r} in {word!r}", nearest(key, KEYS))
        valid = list(matrix.sets) if key == "set" else list(matrix.values(key))
        if key == "torch":
            valid += dict.fromkeys(minor_of(release) for release in valid)
        for value in values.split(","):
            if value not in valid:
                raise UsageError(f"no declared {key} matches {value!r}", nearest(value, valid))
            wanted.setdefault(key, []).append(value)
    return wanted


def words_for(matrix: Matrix, combos: Iterable[Combo]) -> tuple[str, ...]:
    """Selections that choose exactly these combos: as few as merging equal rows one axis after the other gives."""
    blocks: set[tuple[tuple[str, ...], ...]] = {tuple((getattr(combo, axis),) for axis in AXES) for combo in combos}
    for place in (AXES.index(axis) for axis in ("python", "cuda", "torch", "platform", "package")):
        groups: dict[tuple[tuple[str, ...], ...], set[str]] = {}
        for block in blocks:
            groups.setdefault(block[:place] + block[place + 1 :], set()).update(block[place])
        axis = AXES[place]
        order = matrix.values(axis)
        blocks = {
            (*rest[:place], tuple(sorted(values, key=order.index)), *rest[place:]) for rest, values in groups.items()
        }
    found = {combo: words for block in blocks for combo, words in _spelled(matrix, block)}
    return tuple(dict.fromkeys(found[combo] for combo in sort(list(found))))


def _spelled(matrix: Matrix, block: tuple[tuple[str, ...], ...]) -> list[tuple[Combo, str]]:
    """The combos of a block, each with the words for the block, or for itself where one set has not all of them."""
    combos = {Combo(**dict(zip(AXES, values, strict=True))) for values in itertools.product(*block)}
    words = [f"{axis}={','.join(values)}" for axis, values in zip(AXES, block, strict=True)]
    if set(select(matrix, words)) == combos:
        return [(combo, " ".join(words)) for combo in combos]
    return [(combo, " ".join(f"{axis}={getattr(combo, axis)}" for axis in AXES)) for combo in combos]


def on_machine(matrix: Matrix, combos: Iterable[Combo], os: str, machine: str) -> tuple[Combo, ...]:
    """Those of ``combos`` whose wheels are built without a container on ``os`` (linux, windows) and ``machine``."""
    facts = matrix.facts.platform
    native = {name for name, p in facts.items() if (p.os, p.machine, p.container) == (os, machine, None)}
    return tuple(combo for combo in combos if combo.platform in native)


def _matches(axis: str, value: str, combo: Combo) -> bool:
    actual: str = getattr(combo, axis)
    return value == actual or (axis == "torch" and value == minor_of(actual))


def _any(axis: str, values: Iterable[str], combo: Combo) -> bool:
    return any(_matches(axis, value, combo) for value in values)


def _all_found(wanted: dict[str, list[str]], found: Iterable[Combo]) -> bool:
    combos = list(found)
    return all(any(_matches(axis, v, combo) for combo in combos) for axis, values in wanted.items() for v in values)


def _nothing(wanted: dict[str, list[str]], chosen: Sequence[str], pool: set[Combo]) -> tuple[str, str]:
    """Say which value finds no cell next to the others, and what would."""
    place = f" in set {', '.join(chosen)}" if chosen else ""
    for axis in reversed(AXES):
        others = {other: values for other, values in wanted.items() if other != axis}
        possible = [combo for combo in pool if all(_any(other, values, combo) for other, values in others.items())]
        missing = [v for v in wanted.get(axis, ()) if not any(_matches(axis, v, combo) for combo in possible)]
        if missing and possible:
            valid = dict.fromkeys(getattr(combo, axis) for combo in sort(possible))
            given = " ".join(f"{other}={','.join(values)}" for other, values in others.items())
            beside = f" together with {given}" if given else ""
            return f"no declared cell{place} has {axis}={','.join(missing)}{beside}", nearest(missing[0], valid)
    words = " ".join(f"{axis}={','.join(values)}" for axis, values in wanted.items())
    return f"no declared cell{place} fits {words}", "drop one of the words, or run `plan set=all` to see what there is"
