"""Writing a site: staged beside its place, compared with what was published before, then moved there whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from buildtool.errors import PublishError
from buildtool.publish.dist import PublishedWheel
from buildtool.publish.index import FILES, MANIFEST


def published(manifest: bytes, where: str) -> dict[str, str]:
    """Wheel name → SHA-256 of a published manifest. Raises PublishError if it cannot be read."""
    try:
        document: dict[str, Any] = json.loads(manifest)
        return {str(row["name"]): str(row["sha256"]) for row in document["wheels"]}
    except (ValueError, KeyError, TypeError) as error:
        raise PublishError(
            f"{where} is no manifest of a published index ({error!r})", "name the wheels.json that is served now"
        ) from error


def check_growth(before: Mapping[str, str], wheels: Iterable[PublishedWheel], *, allow_removal: bool) -> None:
    """Refuse an index that lacks or changes what users may have pinned. Raises PublishError."""
    now = {wheel.name: wheel.sha256 for wheel in wheels}
    changed = sorted(name for name in before if name in now and now[name] != before[name])
    if changed:
        raise PublishError(
            f"{len(changed)} published wheels would get other bytes: {', '.join(changed)}",
            "publish them under another version; a lock file with their hashes exists somewhere",
        )
    gone = sorted(set(before) - set(now))
    if gone and not allow_removal:
        raise PublishError(
            f"{len(gone)} published wheels would disappear: {', '.join(gone)}",
            "add them to the folder, or say --allow-removal",
        )


def write_site(out: Path, files: Mapping[str, bytes], wheels: Sequence[PublishedWheel] = ()) -> None:
    """Write the site so that ``out`` is the old one or the new one, whole, at every moment but the swap of two renames.

    ``wheels`` are those that it serves itself: they are put below it, as hard links where the file system allows.
    """
    out = out.absolute()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            _fill(staging / "new", files, wheels)
            if out.exists():
                out.rename(staging / "old")
            (staging / "new").rename(out)
        finally:
            if not out.exists() and (staging / "old").exists():
                (staging / "old").rename(out)
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise PublishError(
            f"cannot write {out}: {error.strerror or error}", "free space there, or name another folder"
        ) from error


def _fill(folder: Path, files: Mapping[str, bytes], wheels: Iterable[PublishedWheel]) -> None:
    folder.mkdir()
    made: set[Path] = set()
    for name, content in files.items():
        path = folder / name
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        path.write_bytes(content)
    for wheel in wheels:
        (folder / FILES).mkdir(exist_ok=True)
        target = folder / FILES / wheel.name
        try:
            target.hardlink_to(wheel.path)
        except OSError:
            shutil.copyfile(wheel.path, target)
    # GitHub Pages would otherwise leave out what starts with an underscore.
    (folder / ".nojekyll").touch()


def read_previous(out: Path, previous: Path | None) -> dict[str, str]:
    """What is published now: by the manifest that was named, else by the one in the output folder, else nothing."""
    path = previous or out / MANIFEST
    with suppress(FileNotFoundError):
        return published(path.read_bytes(), os.fspath(path))
    if previous is not None:
        raise PublishError(f"{previous} does not exist", "name the wheels.json that is served now")
    return {}
