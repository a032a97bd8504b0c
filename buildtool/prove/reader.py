"""Bounds-checked reading of untrusted bytes, shared by every parser of this package."""

from __future__ import annotations

import struct
from mmap import mmap

Buffer = bytes | mmap
"""What a parser reads: bytes, or a mapped file when the input is hundreds of megabytes."""

MAX_NAME = 1 << 16
"""Longest NUL-terminated string that is read, in bytes: far above any mangled C++ name met so far."""


class MalformedError(ValueError):
    """Bytes that are not what they should be. The message says what was expected and where."""


def unpack(layout: struct.Struct, data: Buffer, offset: int, what: str) -> tuple[int, ...]:
    """Unpack ``layout`` at ``offset``. Raises MalformedError where the data ends before it."""
    if offset < 0 or offset + layout.size > len(data):
        raise MalformedError(f"{what} at byte {offset} lies outside the {len(data)} bytes that are there")
    return layout.unpack_from(data, offset)


def piece(data: Buffer, offset: int, size: int, what: str) -> bytes:
    """Return ``size`` bytes at ``offset``. Raises MalformedError where the data ends before."""
    if offset < 0 or size < 0 or offset + size > len(data):
        raise MalformedError(
            f"{what} ({size} bytes at byte {offset}) lies outside the {len(data)} bytes that are there"
        )
    return data[offset : offset + size]


def cstring(table: bytes, offset: int, what: str) -> str:
    """Return the NUL-terminated UTF-8 string at ``offset`` of a string table."""
    if not 0 <= offset < len(table):
        raise MalformedError(f"the name of {what} lies outside its string table")
    end = table.find(b"\0", offset, offset + MAX_NAME)
    if end < 0:
        raise MalformedError(f"the name of {what} has no end")
    return table[offset:end].decode("utf-8", "replace")
