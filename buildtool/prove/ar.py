"""Unix ar archives with GNU long names, as cubins are bundled in: one archive per GPU architecture.

Source of the layout: ar(5); the GNU variant keeps long names in a member ``//`` and refers to them as ``/OFFSET``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildtool.prove.reader import MalformedError, piece

MAGIC = b"!<arch>\n"
_HEADER = 60


@dataclass(frozen=True)
class ArMember:
    """One file of an ar archive, with the header fields that must be zero for equal inputs to give equal bytes."""

    name: str
    timestamp: int
    owner: int
    group: int
    mode: int
    offset: int
    data: bytes


def read_ar(data: bytes) -> tuple[ArMember, ...]:
    """Read every member in file order. Raises MalformedError with the byte at which the archive stops making sense."""
    if data[: len(MAGIC)] != MAGIC:
        raise MalformedError("does not start with !<arch>")
    members: list[ArMember] = []
    long_names = b""
    at = len(MAGIC)
    while at < len(data):
        header = piece(data, at, _HEADER, "a member header")
        if header[58:60] != b"`\n":
            raise MalformedError(f"the member header at byte {at} has no end mark")
        size = _number(header[48:58], at, "size")
        body = piece(data, at + _HEADER, size, "a member")
        raw = header[:16].decode("latin-1").rstrip(" ")
        if raw == "//":
            long_names = body
        elif raw != "/":  # "/" is a linker's symbol table
            members.append(
                ArMember(
                    name=_name(raw, long_names, at),
                    timestamp=_number(header[16:28], at, "timestamp"),
                    owner=_number(header[28:34], at, "owner"),
                    group=_number(header[34:40], at, "group"),
                    mode=_number(header[40:48], at, "mode", base=8),
                    offset=at + _HEADER,
                    data=body,
                )
            )
        at += _HEADER + size + size % 2
    return tuple(members)


def _number(field: bytes, at: int, what: str, base: int = 10) -> int:
    text = field.decode("latin-1").strip(" ")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        raise MalformedError(f"the {what} of the member at byte {at} is not a number")
    try:
        return int(text, base)
    except ValueError as error:
        raise MalformedError(f"the {what} of the member at byte {at} is not a number") from error


def _name(raw: str, long_names: bytes, at: int) -> str:
    if re.fullmatch(r"/[0-9]+", raw):
        start = int(raw[1:])
        end = long_names.find(b"/\n", start)
        if start >= len(long_names) or end < 0:
            raise MalformedError(f"the long name of the member at byte {at} is not in the name table")
        return long_names[start:end].decode("utf-8", "replace")
    return raw.removesuffix("/")
