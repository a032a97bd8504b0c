"""Wheel bytes → facts: everything the rules look at, frozen, with the reading problems kept as data."""

from __future__ import annotations

import email.message
import email.parser
import email.policy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from buildtool.prove.ar import ArMember, read_ar
from buildtool.prove.archive import Archive, read_archive
from buildtool.prove.cubin import Cubin, read_cubin
from buildtool.prove.library import Library, read_library
from buildtool.prove.pe import Dll, read_dll
from buildtool.prove.reader import MalformedError

NATIVE = "_native/"
MAX_JSON_BYTES = 16 << 20


@dataclass(frozen=True)
class DeviceImage:
    """A member of a cubin archive: the parsed image, or why it could not be parsed."""

    member: ArMember
    cubin: Cubin | None
    problem: str = ""


@dataclass(frozen=True)
class Facts:
    """One wheel. A part that is missing is None; a part that is there but unreadable has its reason in ``problems``."""

    filename: str
    sha256: str
    size: int
    archive: Archive | None
    dist_info: str | None
    """Name of the ``.dist-info`` folder, without the slash."""
    wheel: email.message.Message | None
    metadata: bytes | None
    record: bytes | None
    stamp_path: str | None
    stamp: Mapping[str, Any] | None
    """``record.json``."""
    libraries: Mapping[str, Library | None]
    dlls: Mapping[str, Dll | None]
    cubins: Mapping[str, tuple[DeviceImage, ...] | None]
    """Architecture named by the archive's file name → its images; None if the archive could not be read."""
    sboms: Mapping[str, Mapping[str, Any] | None]
    problems: Mapping[str, str] = field(default_factory=dict)
    """Member (or the wheel's own file name) → why it could not be read."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """Bytes of every readable member."""
        return self.archive.contents if self.archive else {}


def gather(filename: str, data: bytes) -> Facts:
    """Read a wheel. Never raises for what is in ``data``: what cannot be read stands in ``problems``."""
    problems: dict[str, str] = {}
    archive: Archive | None = None
    try:
        archive = read_archive(data)
    except MalformedError as error:
        problems[filename] = str(error)
    contents = archive.contents if archive else {}
    folders = sorted({name.split("/")[0] for name in contents if name.split("/")[0].endswith(".dist-info")})
    dist_info = folders[0] if len(folders) == 1 else None
    stamp_path = next((name for name in sorted(contents) if name.endswith(f"{NATIVE}record.json")), None)
    libraries = {
        name: _attempt(read_library, name, content, problems)
        for name, content in sorted(contents.items())
        if f"/{NATIVE}" in name and name.endswith(".so")
    }
    dlls = {
        name: _attempt(read_dll, name, content, problems)
        for name, content in sorted(contents.items())
        if f"/{NATIVE}" in name and name.endswith(".dll")
    }
    cubins = {
        name.rsplit("/", 1)[1].removesuffix(".ar"): _attempt(_images, name, content, problems)
        for name, content in sorted(contents.items())
        if f"/{NATIVE}cubins/" in name and name.endswith(".ar")
    }
    sboms = {
        name: _attempt(_json_object, name, content, problems)
        for name, content in sorted(contents.items())
        if dist_info and name.startswith(f"{dist_info}/sboms/") and name != f"{dist_info}/sboms/"
    }
    return Facts(
        filename=filename,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        archive=archive,
        dist_info=dist_info,
        wheel=_headers(contents.get(f"{dist_info}/WHEEL")),
        metadata=contents.get(f"{dist_info}/METADATA"),
        record=contents.get(f"{dist_info}/RECORD"),
        stamp_path=stamp_path,
        stamp=_attempt(_json_object, stamp_path, contents[stamp_path], problems) if stamp_path else None,
        libraries=libraries,
        dlls=dlls,
        cubins=cubins,
        sboms=sboms,
        problems=problems,
    )


_T = TypeVar("_T")


def _attempt(parse: Callable[[bytes], _T], name: str, data: bytes, problems: dict[str, str]) -> _T | None:
    try:
        return parse(data)
    except MalformedError as error:
        problems[name] = str(error)
        return None


def _headers(data: bytes | None) -> email.message.Message | None:
    if data is None:
        return None
    return email.parser.Parser(policy=email.policy.compat32).parsestr(data.decode("utf-8", "replace"), headersonly=True)


def _images(data: bytes) -> tuple[DeviceImage, ...]:
    images: list[DeviceImage] = []
    for member in read_ar(data):
        try:
            images.append(DeviceImage(member, read_cubin(member.data)))
        except MalformedError as error:
            images.append(DeviceImage(member, None, str(error)))
    return tuple(images)


def _json_object(data: bytes) -> Mapping[str, Any]:
    if len(data) > MAX_JSON_BYTES:
        raise MalformedError(f"{len(data)} bytes of JSON, more than the {MAX_JSON_BYTES} that are read")
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"is not UTF-8 JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedError("is not a JSON object")
    return value
