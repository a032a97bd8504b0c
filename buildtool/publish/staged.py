"""Publishing in stages: a draft, every asset in it, and only then the one switch that makes it visible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from buildtool.errors import PublishError
from buildtool.publish.release import Asset, File, upload_plan


@dataclass(frozen=True)
class Release:
    """A release of a host; a draft is invisible to users until it is published."""

    id: int
    tag: str
    draft: bool
    upload_url: str
    url: str


class Releases(Protocol):
    """What publishing asks of a release host."""

    def find(self, tag: str) -> Release | None: ...
    def create_draft(self, tag: str, title: str, notes: str) -> Release: ...
    def assets(self, release: Release) -> tuple[Asset, ...]: ...
    def upload(self, release: Release, path: Path) -> None: ...
    def delete_asset(self, asset: int) -> None: ...
    def publish(self, release: Release, notes: str) -> None: ...


def publish(
    host: Releases,
    tag: str,
    notes: str,
    *,
    files: Mapping[str, File],
    folder: Path,
    say: Callable[[str], None],
) -> Release:
    """Bring the release of ``tag`` to hold exactly these files and make it visible, going on where a run stopped.

    Raises PublishError if an asset of the same name has different bytes, if the host holds files that are not ours, or
    if the release is public already and lacks a file.
    """
    release = host.find(tag)
    if release is None:
        say(f"new draft {tag}")
        release = host.create_draft(tag, tag, notes)
    todo = upload_plan(files, host.assets(release))
    if not release.draft:
        if todo.missing:
            raise PublishError(
                f"{tag} is public already and lacks {', '.join(todo.missing)}",
                "what is published is never changed: tag a rebuild with `release tag`",
            )
        say(f"{tag} is public already, with every file")
        return release
    for asset in todo.broken:
        host.delete_asset(asset)
    for number, name in enumerate(todo.missing, 1):
        say(f"[{number}/{len(todo.missing)}] {name}")
        host.upload(release, folder / name)
    held = host.assets(release)
    left = upload_plan(files, held)
    if left.missing or left.broken:
        raise PublishError(f"the draft {tag} still lacks {', '.join(left.missing)}", "run the same command again")
    if foreign := sorted({asset.name for asset in held} - set(files)):
        raise PublishError(f"the draft {tag} holds files of another plan: {', '.join(foreign)}", "delete them by hand")
    host.publish(release, notes)
    say(f"{tag} is public: {release.url}")
    return release
