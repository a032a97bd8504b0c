"""The content-addressed store: everything built once is kept under a key that says all it was built from.

An entry is a folder that appears by one rename, so it is whole or absent, and two builds may fill the same key at once.
Each entry carries the hashes of its files; one that no longer matches is dropped and built again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from buildtool.errors import ToolchainError

FORMAT = 1
_SEAL = ".entry.json"
_ABANDONED_SECONDS = 600.0
_CHUNK = 1 << 20


def default_root(environ: Mapping[str, str] | None = None) -> Path:
    """``$BUILDTOOL_CACHE``, else ``buildtool`` in ``$XDG_CACHE_HOME``, ``%LOCALAPPDATA%`` or ``~/.cache``."""
    env = os.environ if environ is None else environ
    if given := env.get("BUILDTOOL_CACHE"):
        return Path(given).expanduser().absolute()
    base = env.get("XDG_CACHE_HOME") or env.get("LOCALAPPDATA") or "~/.cache"
    return Path(base).expanduser().absolute() / "buildtool"


def digest(value: Any) -> str:
    """SHA-256 over the canonical JSON of a value: the key of what is built from it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


class Store:
    """Entries by kind and key below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root / f"v{FORMAT}"

    def path(self, kind: str, key: str) -> Path:
        """Where the entry is, or would be."""
        return self.root / kind / key[:2] / key

    def get(self, kind: str, key: str, *, sizes_only: bool = False) -> Path | None:
        """The entry's folder if it is there and undamaged. A damaged one is removed.

        ``sizes_only`` compares sizes instead of hashes, for trees of gigabytes whose content was checked on the way in.
        """
        path = self.path(kind, key)
        # Twice, because another build may publish the entry, or repair it, between a look inside and the verdict.
        for _ in range(2):
            try:
                if self._whole(path, sizes_only=sizes_only):
                    with suppress(OSError):  # a cache that may only be read serves, too
                        os.utime(path / _SEAL)
                    return path
            except FileNotFoundError:
                if not path.exists():
                    return None
            except (ValueError, KeyError, TypeError, AttributeError):
                pass  # the seal itself is damaged
            except OSError as error:
                raise self._failed("read", path, error) from error
        self._discard(path)
        return None

    @staticmethod
    def _whole(path: Path, *, sizes_only: bool) -> bool:
        files: dict[str, list[Any]] = json.loads((path / _SEAL).read_bytes())["files"]
        return all(
            (path / name).stat().st_size == size and (sizes_only or file_digest(path / name) == expected)
            for name, (size, expected) in files.items()
        )

    def put(self, kind: str, key: str, fill: Callable[[Path], None], *, sizes_only: bool = False) -> Path:
        """Let ``fill`` write the entry's files into an empty folder, then publish it; returns its final folder."""
        path = self.path(kind, key)
        with self.scratch() as folder:
            content = folder / "content"
            try:
                content.mkdir()
                fill(content)
                files = {
                    file.relative_to(content).as_posix(): [file.stat().st_size, "" if sizes_only else file_digest(file)]
                    for file in sorted(content.rglob("*"))
                    if file.is_file()
                }
                (content / _SEAL).write_text(json.dumps({"files": files}, sort_keys=True))
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    content.rename(path)
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES) or not path.exists():
                        raise
                    if self.get(kind, key, sizes_only=sizes_only) is None:
                        content.rename(path)
                self._give_to_owner(path)
            except OSError as error:
                raise self._failed("write", path, error) from error
        return path

    def _give_to_owner(self, path: Path) -> None:
        """What root adds, in a container or under sudo, belongs to the owner of the store like everything in it."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0 or (owner := self.root.stat()).st_uid == 0:
            return
        for place in (path.parent.parent, path.parent, path, *path.rglob("*")):
            os.chown(place, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def fetch(
        self, kind: str, key: str, fill: Callable[[Path], None], *, sizes_only: bool = False
    ) -> tuple[Path, bool]:
        """The entry's folder, filled if it was absent; and whether it was there already."""
        found = self.get(kind, key, sizes_only=sizes_only)
        if found is not None:
            return found, True
        return self.put(kind, key, fill, sizes_only=sizes_only), False

    def drop_oldest(self, kind: str, keep: int) -> bool:
        """Remove the entry of a kind that was not used for longest, unless only ``keep`` are left; whether it did."""

        def used(path: Path) -> float:
            try:
                return (path / _SEAL).stat().st_mtime
            except FileNotFoundError:  # another build removes it just now
                return 0.0

        entries = sorted(self.root.glob(f"{kind}/*/*"), key=used)
        if len(entries) <= keep:
            return False
        self._discard(entries[0])
        return True

    @contextmanager
    def scratch(self) -> Any:
        """A temporary folder on the store's own file system, removed afterwards."""
        parent = self.root / "tmp"
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._sweep(parent)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
        except OSError as error:
            raise self._failed("write", parent, error) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self, parent: Path) -> None:
        """Remove what killed builds left behind."""
        for folder in parent.iterdir():
            with suppress(OSError, ValueError):
                owner = int(folder.name.split("-")[0])
                if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS and not is_alive(owner):
                    shutil.rmtree(folder, ignore_errors=True)

    def _discard(self, path: Path) -> None:
        """Take an entry away in one step, so that nobody sees it half removed."""
        with self.scratch() as folder, suppress(FileNotFoundError):
            try:
                path.rename(folder / "damaged")
            except FileNotFoundError:
                raise
            except OSError as error:
                raise self._failed("repair", path, error) from error

    def _failed(self, what: str, path: Path, error: OSError) -> ToolchainError:
        reason = error.strerror or str(error)
        hints = {
            errno.ENOSPC: "free some space, or point BUILDTOOL_CACHE at a larger disk",
            errno.EDQUOT: "free some space, or point BUILDTOOL_CACHE at a larger disk",
        }
        hint = hints.get(error.errno or 0, "point BUILDTOOL_CACHE at a folder that can be written")
        place = error.filename or path
        return ToolchainError(f"cannot {what} the build cache at {place}: {reason}", hint)


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
