from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from buildtool.errors import BuildToolError, StaleError
from buildtool.make import outbox
from buildtool.make.store import file_digest
from buildtool.make.wheel import DEFAULT_EPOCH, epoch, finish, repack, retag

INFO = "pkg-1.0.dist-info"
WHEEL = "Wheel-Version: 1.0\nGenerator: hatchling 1.27\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def pure(path: Path, order: int = 1) -> Path:
    members = [
        ("pkg/__init__.py", ""),
        (f"{INFO}/METADATA", "Name: pkg\n"),
        (f"{INFO}/WHEEL", WHEEL),
        (f"{INFO}/RECORD", ""),
    ]
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members[::order]:
            archive.writestr(name, text)
    return path


def finished(tmp_path: Path, name: str, order: int = 1) -> Path:
    output = tmp_path / name
    finish(
        pure(tmp_path / f"pure{order}.whl", order),
        output,
        tag="cp312-cp312-linux_x86_64",
        build_tag="280.128",
        added={"pkg/_native/libpkg.so": b"\x7fELF", "pkg/_native/record.json": b"{}"},
        timestamp=DEFAULT_EPOCH,
    )
    return output


def test_retag_replaces_the_tag_and_keeps_the_generator() -> None:
    assert retag(WHEEL, "cp312-cp312-linux_x86_64", "280.128").splitlines() == [
        "Wheel-Version: 1.0",
        "Generator: hatchling 1.27",
        "Root-Is-Purelib: false",
        "Build: 280.128",
        "Tag: cp312-cp312-linux_x86_64",
    ]
    assert "Build" not in retag(WHEEL, "x", "")


def test_the_same_members_in_another_order_make_the_same_bytes(tmp_path: Path) -> None:
    assert finished(tmp_path, "a.whl").read_bytes() == finished(tmp_path, "b.whl", -1).read_bytes()


def test_a_wheel_that_another_tool_packed_comes_out_the_same(tmp_path: Path) -> None:
    ours = finished(tmp_path, "pkg-1.0-280.128-cp312-cp312-linux_x86_64.whl")
    with zipfile.ZipFile(ours) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    (tmp_path / "theirs").mkdir()
    theirs = tmp_path / "theirs" / ours.name
    with zipfile.ZipFile(theirs, "w") as archive:
        archive.mkdir("pkg")
        for name, data in reversed(members):
            archive.writestr(name, data)
    (tmp_path / "again").mkdir()
    assert repack(theirs, tmp_path / "again").read_bytes() == ours.read_bytes()


def test_record_lists_every_member_with_its_hash(tmp_path: Path) -> None:
    with zipfile.ZipFile(finished(tmp_path, "a.whl")) as archive:
        names = archive.namelist()
        rows = [row.split(",") for row in archive.read(f"{INFO}/RECORD").decode().splitlines()]
        assert all(info.date_time == (2020, 2, 2, 0, 0, 0) for info in archive.infolist())
    assert [row[0] for row in rows] == names
    assert rows[-1] == [f"{INFO}/RECORD", "", ""]
    assert all(row[1].startswith("sha256=") for row in rows[:-1])


def test_source_date_epoch() -> None:
    assert epoch({}) == DEFAULT_EPOCH
    assert epoch({"SOURCE_DATE_EPOCH": "1700000000"}) == 1700000000
    assert epoch({"SOURCE_DATE_EPOCH": "0"}) == 315532800
    with pytest.raises(BuildToolError, match="yesterday"):
        epoch({"SOURCE_DATE_EPOCH": "yesterday"})


def staged(folder: Path, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "pkg-1.0-1-py3-none-any.whl"
    wheel.write_bytes(data)
    return wheel


def test_a_wheel_appears_with_its_report_and_is_not_replaced_silently(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    with outbox.staging(out) as place:
        wheel = staged(place, b"one")
        report = {"ok": True, "fingerprint": "f", "sha256": file_digest(wheel)}
        target = outbox.publish(wheel, report, out, replace=False)
    assert sorted(p.name for p in out.iterdir()) == ["pkg-1.0-1-py3-none-any.json", "pkg-1.0-1-py3-none-any.whl"]
    assert outbox.proven(target, "f") is not None
    assert outbox.proven(target, "g") is None
    with pytest.raises(StaleError, match="other bytes"), outbox.staging(out) as place:
        outbox.publish(staged(place, b"two"), report, out, replace=False)
    assert target.read_bytes() == b"one"
    with outbox.staging(out) as place:
        outbox.publish(staged(place, b"two"), report, out, replace=True)
    assert target.read_bytes() == b"two"
    assert outbox.proven(target, "f") is None


def test_a_later_report_takes_the_place_of_the_builds_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    wheel = staged(tmp_path, b"one")
    outbox.renew(wheel, {"ok": True, "sha256": file_digest(wheel), "level": "static"})
    assert outbox.proven(wheel, "f") is None
    built = {"ok": True, "sha256": file_digest(wheel), "level": "import", "fingerprint": "f", "undone": "no Python"}
    outbox.report_path(wheel).write_text(json.dumps(built))
    written = outbox.renew(wheel, {"ok": True, "sha256": file_digest(wheel), "level": "gpu"})
    assert json.loads(written.read_text())["level"] == "gpu"
    assert outbox.proven(wheel, "f") is not None
    wheel.write_bytes(b"two")
    outbox.renew(wheel, {"ok": True, "sha256": file_digest(wheel), "level": "gpu"})
    assert outbox.proven(wheel, "f") is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pkg-1.0-1-py3-none-any.json", "pkg-1.0-1-py3-none-any.whl"]


def test_an_output_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildToolError, match="cannot write wheels"), outbox.staging(tmp_path / "file" / "dist"):
        pass
