"""Reading a wheel's zip without trusting it: every size is bounded, every oddity is kept for the rules to judge.

The layout follows the wheel format (PEP 427, PEP 491) and APPNOTE.TXT of the zip format.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from buildtool.prove.reader import MalformedError

MAX_MEMBERS = 20_000
MAX_MEMBER_BYTES = 1 << 30
MAX_TOTAL_BYTES = 2 << 30
MAX_RATIO = 1_100
"""Deflate cannot do better than about 1032 to 1; a member that claims more is lying about its size."""

_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """One entry of the zip's central directory."""

    name: str
    size: int
    compressed: int
    method: int
    timestamp: tuple[int, int, int, int, int, int]
    mode: int
    """Unix mode bits, 0 where the archive has none."""
    encrypted: bool
    offset: int
    local_name: str
    """The name in the local header, which tools that stream the archive believe."""


@dataclass(frozen=True)
class Archive:
    """A zip: its entries in directory order, what could be read of them, and what could not."""

    members: tuple[Member, ...]
    contents: Mapping[str, bytes]
    """Bytes of each readable member; of members with one name, the last (which is what extraction leaves)."""
    unreadable: tuple[tuple[str, str], ...]
    """(member, why) for each that could not be decompressed, is encrypted, or is over a limit."""
    prefix: int
    """Bytes before the first entry."""
    suffix: int
    """Bytes after the end-of-directory record, its comment included."""


def read_archive(data: bytes) -> Archive:
    """Read all of a zip. Raises MalformedError if there is no readable directory or it is over the limits."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read(archive, data)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, *_DECODE_ERRORS) as error:
        raise MalformedError(f"not a readable zip: {error or type(error).__name__}") from error


_DECODE_ERRORS = (
    EOFError, IndexError, NotImplementedError, OSError, OverflowError, RuntimeError, UnicodeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What ``zipfile`` lets through from damaged input besides BadZipFile."""


def _read(archive: zipfile.ZipFile, data: bytes) -> Archive:
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise MalformedError(f"{len(infos)} entries, more than the {MAX_MEMBERS} that any wheel of ours could have")
    contents: dict[str, bytes] = {}
    unreadable: list[tuple[str, str]] = []
    members: list[Member] = []
    budget = MAX_TOTAL_BYTES
    for info in infos:
        members.append(_member(info, data))
        try:
            content = _content(archive, info, budget)
        except (zipfile.BadZipFile, *_DECODE_ERRORS) as error:
            unreadable.append((info.filename, str(error) or type(error).__name__))
            contents.pop(info.filename, None)
        else:
            budget -= len(content)
            contents[info.filename] = content
    end = data.rfind(b"PK\5\6")
    return Archive(
        members=tuple(members),
        contents=contents,
        unreadable=tuple(unreadable),
        prefix=min((info.header_offset for info in infos), default=0),
        suffix=len(data) - end - 22,
    )


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: int) -> bytes:
    limit = min(budget, MAX_MEMBER_BYTES)
    if info.file_size > limit:
        raise MalformedError(f"claims {info.file_size} bytes, over the limit of {limit}")
    if info.file_size > MAX_RATIO * max(info.compress_size, 1) + _CHUNK:
        raise MalformedError(f"claims {info.file_size} bytes from {info.compress_size}: a decompression bomb")
    with archive.open(info) as stream:
        content = stream.read(info.file_size + 1)
    if len(content) != info.file_size:
        raise MalformedError(f"holds another number of bytes than the {info.file_size} it claims")
    return content


def _member(info: zipfile.ZipInfo, data: bytes) -> Member:
    return Member(
        name=info.orig_filename,
        size=info.file_size,
        compressed=info.compress_size,
        method=info.compress_type,
        timestamp=(*info.date_time,),
        mode=info.external_attr >> 16,
        encrypted=bool(info.flag_bits & 1),
        offset=info.header_offset,
        local_name=_local_name(data, info.header_offset),
    )


def _local_name(data: bytes, offset: int) -> str:
    header = data[offset : offset + _LOCAL_HEADER.size]
    if len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
        return ""
    flags, length = _LOCAL_HEADER.unpack(header)[2], _LOCAL_HEADER.unpack(header)[9]
    start = offset + _LOCAL_HEADER.size
    return data[start : start + length].decode("utf-8" if flags & 0x800 else "cp437", "replace")
