"""The last step: hatchling's pure wheel plus native files becomes the wheel of one cell, always the same bytes."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from buildtool.errors import BuildToolError

DEFAULT_EPOCH = 1580601600
"""Time stamp of the members without SOURCE_DATE_EPOCH: 2020-02-02, as hatchling has it."""
_ZIP_MINIMUM = 315532800


def epoch(environ: Mapping[str, str] | None = None) -> int:
    """SOURCE_DATE_EPOCH as seconds, raised to 1980, where zip time begins. Raises BuildToolError if not a number."""
    text = (os.environ if environ is None else environ).get("SOURCE_DATE_EPOCH")
    if not text:
        return DEFAULT_EPOCH
    if not re.fullmatch(r"\d+", text):
        raise BuildToolError(
            f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds", "unset it or set it to `date +%s`"
        )
    return max(int(text), _ZIP_MINIMUM)


def finish(pure: Path, output: Path, *, tag: str, build_tag: str, added: Mapping[str, bytes], timestamp: int) -> None:
    """Write ``output``: the pure wheel's members, the added files, and WHEEL and RECORD to match.

    ``tag`` is the one compatibility tag (``cp312-cp312-linux_x86_64``), ``build_tag`` may be empty, ``added`` maps
    archive paths to contents. Members stand in name order with the dist-info folder last (PEP 427 recommends it).
    """
    with zipfile.ZipFile(pure) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}
    info_folder = next(name.split("/")[0] for name in members if name.endswith(".dist-info/WHEEL"))
    members |= added
    members[f"{info_folder}/WHEEL"] = retag(members[f"{info_folder}/WHEEL"].decode(), tag, build_tag).encode()
    record = f"{info_folder}/RECORD"
    members.pop(record, None)
    order = sorted(members, key=lambda name: (name.startswith(f"{info_folder}/"), name))
    members[record] = _record({name: members[name] for name in order}, record)
    date = time.gmtime(timestamp)[:6]
    with zipfile.ZipFile(output, "w") as archive:
        for name in (*order, record):
            entry = zipfile.ZipInfo(name, date_time=date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            archive.writestr(entry, members[name], compresslevel=6)


def repack(source: Path, folder: Path) -> Path:
    """Write a wheel that another tool has packed into ``folder`` as :func:`finish` would have; returns its path."""
    *_, build_tag, python, abi, platform = source.stem.split("-")
    output = folder / source.name
    finish(source, output, tag=f"{python}-{abi}-{platform}", build_tag=build_tag, added={}, timestamp=epoch())
    return output


def retag(text: str, tag: str, build_tag: str) -> str:
    """The WHEEL file with this one tag and build tag, for a wheel that goes to platlib."""
    kept = [
        line for line in text.splitlines() if line and line.partition(":")[0] not in {"Tag", "Build", "Root-Is-Purelib"}
    ]
    added = ["Root-Is-Purelib: false", *([f"Build: {build_tag}"] if build_tag else []), f"Tag: {tag}"]
    return "\n".join([*kept, *added, ""])


def _record(members: Mapping[str, bytes], record: str) -> bytes:
    lines = io.StringIO()
    for name, data in members.items():
        value = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.write(f"{name},sha256={value},{len(data)}\n")
    lines.write(f"{record},,\n")
    return lines.getvalue().encode()


if __name__ == "__main__":  # python -m buildtool.make.wheel WHEEL FOLDER: in the repair step of a container
    repack(Path(sys.argv[1]), Path(sys.argv[2]))
