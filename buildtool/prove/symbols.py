"""Which symbols the libraries of one exact torch wheel export, in a form small enough to keep for every torch.

An index is the sorted 64-bit BLAKE2b digests of the exported names: about 8 bytes a symbol instead of 100. Two
different names share a digest with a probability of 2⁻⁶⁴ per pair, so a lookup of a few hundred names among half a
million goes wrong once in 10¹¹ torch releases.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.prove.library import exports
from buildtool.prove.pe import read_dll
from buildtool.prove.reader import MalformedError

_NAMES = ("c10", "c10_cuda", "torch", "torch_cpu", "torch_cuda")
LIBRARIES = (*(f"lib{name}.so" for name in _NAMES), *(f"{name}.dll" for name in _NAMES))
"""The libraries a binding may link to, as far as a torch build has them."""

_MAGIC = b"torchsym"
_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class SymbolIndex:
    """The exports of one torch build. ``torch`` is its full version, ``key`` the digest of its libraries."""

    torch: str
    key: str
    digests: array[int]

    def __contains__(self, name: str) -> bool:
        digest = _digest(name)
        at = bisect_left(self.digests, digest)
        return at < len(self.digests) and self.digests[at] == digest

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of ``names`` that no library exports, sorted."""
        return tuple(sorted(name for name in names if name not in self))

    def encode(self) -> bytes:
        """The index as bytes: magic, JSON-free header of two length-prefixed strings, little-endian digests."""
        texts = b"".join(_COUNT.pack(len(text)) + text for text in (self.torch.encode(), self.key.encode()))
        return _MAGIC + texts + _little_endian(self.digests).tobytes()


def decode_index(data: bytes) -> SymbolIndex:
    """Inverse of :meth:`SymbolIndex.encode`. Raises MalformedError."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise MalformedError("not a symbol index")
    at = len(_MAGIC)
    texts: list[str] = []
    for _ in range(2):
        if at + _COUNT.size > len(data):
            raise MalformedError("the symbol index ends in its header")
        (length,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        texts.append(data[at : at + length].decode("utf-8", "replace"))
        at += length
    body = data[at:]
    if len(body) % 8:
        raise MalformedError("the symbol index is cut off")
    digests = array("Q", body)
    return SymbolIndex(texts[0], texts[1], _little_endian(digests))


def index_of(torch: str, key: str, names: Iterable[str]) -> SymbolIndex:
    """Make an index of exported names."""
    return SymbolIndex(torch, key, array("Q", sorted({_digest(name) for name in names})))


def index_folder(torch: str, library_folder: Path) -> SymbolIndex:
    """Index the libraries of an unpacked torch (its ``torch/lib``). Raises ToolchainError."""
    names: set[str] = set()
    for path in _libraries(library_folder):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                if path.suffix == ".dll":
                    names |= read_dll(data).exports
                else:
                    names.update(name for name, undefined in exports(data) if not undefined)
            except MalformedError as error:
                raise ToolchainError(f"{path} cannot be read: {error}", "install that torch again") from error
    return index_of(torch, folder_key(library_folder), names)


def folder_key(library_folder: Path) -> str:
    """A digest that is the same for the same torch wheel wherever it is unpacked.

    It covers the RECORD rows (name, SHA-256, size) of the libraries, which the wheel's author wrote; only where there
    is no RECORD beside the package does it hash the libraries themselves.
    """
    site = library_folder.parent.parent
    rows: list[str] = []
    for record in sorted(site.glob("torch-*.dist-info/RECORD")):
        wanted = {f"torch/lib/{name}" for name in LIBRARIES}
        rows += [row for row in record.read_text("utf-8").splitlines() if row.split(",")[0] in wanted]
    if not rows:
        for path in _libraries(library_folder):
            with path.open("rb") as file:
                rows.append(f"{path.name},{hashlib.file_digest(file, 'sha256').hexdigest()}")
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def cached_index(torch: str, platform: str, library_folder: Path, cache: Path) -> SymbolIndex:
    """The index of an unpacked torch, from ``cache`` if it is there. A damaged cache entry is made again."""
    path = cache / f"torch-{torch}-{_kind(platform)}-{folder_key(library_folder)[:16]}.sym"
    try:
        found = decode_index(path.read_bytes())
    except (OSError, MalformedError):
        pass
    else:
        if found.torch == torch:
            return found
    index = index_folder(torch, library_folder)
    cache.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(f".{os.getpid()}")
    staged.write_bytes(index.encode())
    staged.replace(path)
    return index


def _kind(platform: str) -> str:
    """Platform tags that one torch build serves have one kind: ``linux_x86_64`` and ``manylinux_2_28_x86_64`` do."""
    return (
        platform if platform.startswith("win") else "linux_" + ("aarch64" if platform.endswith("aarch64") else "x86_64")
    )


def known_indexes(platform: str, cache: Path) -> Mapping[str, SymbolIndex]:
    """Every readable index in ``cache`` for a platform, by torch version."""
    found: dict[str, SymbolIndex] = {}
    for path in sorted(cache.glob(f"torch-*-{_kind(platform)}-*.sym")):
        try:
            index = decode_index(path.read_bytes())
        except (OSError, MalformedError):
            continue
        found[index.torch] = index
    return found


def _libraries(folder: Path) -> list[Path]:
    paths = [path for name in LIBRARIES if (path := folder / name).is_file()]
    if not paths:
        raise ToolchainError(f"no torch libraries in {folder}", "give the torch/lib folder of an unpacked torch wheel")
    return paths


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _little_endian(values: array[int]) -> array[int]:
    if struct.pack("=I", 1) == struct.pack("<I", 1):
        return values
    swapped = array("Q", values)
    swapped.byteswap()
    return swapped
