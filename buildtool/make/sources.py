"""The files a translation unit is made of: its include closure, and the digest of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import CompileError
from buildtool.make.store import file_digest

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)


@dataclass(frozen=True)
class Closure:
    """Every project file that one source includes, directly or not."""

    files: tuple[tuple[str, str], ...]
    """(path below the root, SHA-256), in path order, the source itself among them."""
    external: frozenset[str]
    """Included names that are not files of the project: toolchain headers."""


def closure(root: Path, source: str, folders: Sequence[str]) -> Closure:
    """The include closure of ``source`` below ``root``.

    A quoted name is looked for beside the file that includes it, then in ``folders`` (below ``root``); a name in angle
    brackets in ``folders`` only. Conditional includes count as taken: the closure may be larger than what one compile
    reads, never smaller.
    """
    if not (root / source).is_file():
        raise CompileError(f"{source} does not exist below {root}", "correct `source` in kernels/instances.toml")
    found: dict[str, str] = {}
    external: set[str] = set()
    pending = [source]
    while pending:
        name = pending.pop()
        if name in found:
            continue
        path = root / name
        found[name] = file_digest(path)
        for quoted, bracketed in _INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace")):
            beside = [path.parent] if quoted else []
            target = quoted or bracketed
            for folder in (*beside, *(root / f for f in folders)):
                candidate = folder / target
                if candidate.is_file():
                    pending.append(_below(root, candidate))
                    break
            else:
                external.add(target)
    return Closure(tuple(sorted(found.items())), frozenset(external))


def _below(root: Path, path: Path) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError as error:
        raise CompileError(f"{path} is included from outside {root}", "keep kernel sources below kernels/") from error
