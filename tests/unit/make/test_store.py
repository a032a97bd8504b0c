from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildtool.errors import ToolchainError
from buildtool.make.store import Store, default_root, digest, file_digest


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "data").write_bytes(b"payload")


def test_an_entry_is_found_again_and_filled_once(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def counted(folder: Path) -> None:
        calls.append(folder)
        fill(folder)

    first, was_there = store.fetch("cubin", "ab12", counted)
    second, again = store.fetch("cubin", "ab12", counted)
    assert (first, was_there, again, len(calls)) == (second, False, True, 1)
    assert (first / "sub" / "data").read_bytes() == b"payload"
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "seal", "empty seal", "no seal"])
def test_damage_is_detected_and_built_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    entry = store.put("cubin", "ab12", fill)
    data, seal = entry / "sub" / "data", entry / ".entry.json"
    match damage:
        case "flip":
            data.write_bytes(b"pAyload")
        case "truncate":
            data.write_bytes(b"pay")
        case "remove":
            data.unlink()
        case "seal":
            seal.write_text('{"files": 3}')
        case "empty seal":
            seal.write_text("")
        case "no seal":
            seal.unlink()
    assert store.get("cubin", "ab12") is None
    assert not entry.exists()
    assert (store.fetch("cubin", "ab12", fill)[0] / "sub" / "data").read_bytes() == b"payload"


def test_a_failed_fill_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def broken(folder: Path) -> None:
        fill(folder)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("cubin", "ab12", broken)
    assert store.get("cubin", "ab12") is None
    assert [p for p in store.root.rglob("*") if p.is_file()] == []


def test_whoever_publishes_second_keeps_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def slow(folder: Path) -> None:
        fill(folder)
        store.put("cubin", "ab12", fill)
        os.utime(store.path("cubin", "ab12") / "sub" / "data", (1, 1))

    entry = store.put("cubin", "ab12", slow)
    assert (entry / "sub" / "data").stat().st_mtime == 1


def test_a_damaged_entry_in_the_way_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def slow(folder: Path) -> None:
        fill(folder)
        (store.put("cubin", "ab12", fill) / "sub" / "data").write_bytes(b"damaged")

    assert (store.put("cubin", "ab12", slow) / "sub" / "data").read_bytes() == b"payload"


@pytest.mark.parametrize(("code", "hint"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "can be written")])
def test_a_full_or_read_only_disk_is_a_clear_error(tmp_path: Path, code: int, hint: str) -> None:
    def full(folder: Path) -> None:
        raise OSError(code, os.strerror(code), str(folder))

    with pytest.raises(ToolchainError) as caught:
        Store(tmp_path).put("cubin", "ab12", full)
    assert os.strerror(code) in caught.value.message
    assert hint in caught.value.hint
    assert "BUILDTOOL_CACHE" in caught.value.hint


def test_leftovers_of_dead_builds_are_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead, mine = store.root / "tmp" / "4194305-x", store.root / "tmp" / f"{os.getpid()}-y"
    for folder in (dead, mine):
        folder.mkdir(parents=True)
        os.utime(folder, (1, 1))
    store.put("cubin", "ab12", fill)
    assert not dead.exists()
    assert mine.exists()


def test_sizes_only_sees_truncation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = store.put("toolchain", "ab12", fill, sizes_only=True)
    assert store.get("toolchain", "ab12", sizes_only=True) == entry
    (entry / "sub" / "data").write_bytes(b"pay")
    assert store.get("toolchain", "ab12", sizes_only=True) is None


def test_where_the_store_is() -> None:
    assert default_root({"BUILDTOOL_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert default_root({"XDG_CACHE_HOME": "/b"}) == Path("/b/buildtool")
    assert default_root({"HOME": "/c"}).name == "buildtool"


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_digest_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(list(value.items()))))


@given(st.binary(max_size=1000))
def test_file_digest_is_sha256(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("f") / "data"
    path.write_bytes(data)
    assert file_digest(path) == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files to somebody else")
def test_what_root_adds_belongs_to_the_owner_of_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.root.mkdir()
    os.chown(store.root, 1234, 1234)
    entry = store.put("cubin", "ab12", fill)
    assert {path.stat().st_uid for path in (store.root / "cubin").rglob("*")} == {1234}
    assert store.get("cubin", "ab12") == entry
