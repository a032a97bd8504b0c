"""Nothing is lost: after any fault the output folder holds whole wheels only, and the next build finishes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildtool.make.store import Store
from tests.integration import faults
from tests.integration.faults import Site

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    faults.make_project(root / "project")
    return root


@pytest.fixture
def site(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, int], None]
) -> Iterator[Site]:
    faults.prepare(monkeypatch)
    shutil.copytree(pristine, tmp_path / "site")
    made = Site(tmp_path / "site")
    made.temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made.temporary))  # TMPDIR was read when the tests began
    yield made
    record_property("injections", len(made.injected))  # with --junitxml the report has their number


@pytest.fixture
def good(site: Site) -> dict[str, str]:
    """The wheel as it comes out without faults."""
    other = Site(site.root.with_name("good"))
    shutil.copytree(site.root / "project", other.root / "project")
    assert [result.status for result in other.build()] == ["built"]
    return other.wheels()


def reset(site: Site) -> None:
    for folder in (site.cache, site.dist, *site.temporary.glob("buildtool-*")):
        shutil.rmtree(folder, ignore_errors=True)


def check(site: Site, good: dict[str, str]) -> None:
    """What must hold after any fault, and that the next build sets everything right."""
    assert site.wheels() in ({}, good)
    assert next(result.status for result in site.build()) in {"built", "unchanged"}
    assert site.wheels() == good
    assert site.leftovers() == []


STRIDE = 1 if os.environ.get("BUILDTOOL_FAULTS") == "all" else 5
"""Every how manieth moment is tried; BUILDTOOL_FAULTS=all tries each, more than a thousand in all."""

FAULTS = ("kill", "full", "read-only", "broken", "interrupt")


@pytest.mark.parametrize("fault", FAULTS)
def test_at_every_change_of_the_file_system(site: Site, good: dict[str, str], fault: str) -> None:
    moments = faults.count_moments(site)
    assert moments > 40
    ended = 0
    chosen = range(1 + FAULTS.index(fault), moments + 1, STRIDE)
    for moment in chosen:
        reset(site)
        code = faults.strike(site, moment, fault)
        assert code in {0, 1, 3, 130, -signal.SIGKILL}
        ended += code != 0
        site.injected.append(fault)
        # A build that came to its wheel was struck in the clean-up, and nobody cleans up after a kill.
        if fault != "kill" and site.wheels() != good:
            assert list(site.temporary.glob("buildtool-*")) == []
        check(site, good)
    # Faults of the clean-up alone are survived in silence.
    assert ended > len(chosen) / 2


def test_when_files_stop_growing(site: Site, good: dict[str, str]) -> None:
    sizes = sorted({*range(0, 12000, 60 * STRIDE), 1, 2, 3})
    for limit in sizes:
        reset(site)
        if faults.with_limit(site, limit) != 0:
            site.injected.append("limit")
        check(site, good)
    failed = len(site.injected)
    assert failed > len(sizes) // 4


def test_killed_at_random_times(site: Site, good: dict[str, str]) -> None:
    started = time.monotonic()
    site.build()
    usual = time.monotonic() - started
    chance = random.Random(20)  # noqa: S311
    for _ in range(250 // STRIDE):
        if chance.random() < 0.5:
            reset(site)
        pid = os.fork()
        if pid == 0:
            site.build()
            os._exit(0)
        time.sleep(chance.random() * usual)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        site.injected.append("kill")
        check(site, good)


def test_any_damage_to_the_cache_is_repaired(site: Site, good: dict[str, str]) -> None:
    site.build()
    chance = random.Random(21)  # noqa: S311
    files = [
        path for path in sorted(site.cache.rglob("*")) if path.is_file() and not {"nvrtc", "torch"} & set(path.parts)
    ]
    assert len(files) >= 4 * 3 + 2
    for path in files * (12 // STRIDE):
        if not path.is_file():  # an entry that was repaired under another name
            continue
        data = bytearray(path.read_bytes())
        match chance.choice(("flip", "cut", "remove", "empty")):
            case "flip" if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                path.write_bytes(data)
            case "cut":
                path.write_bytes(data[: len(data) // 2])
            case "remove":
                path.unlink()
            case _:
                path.write_bytes(b"")
        site.injected.append("damage")
        shutil.rmtree(site.dist)
        check(site, good)


def test_many_builds_of_the_same_and_of_overlapping_cells_at_once(site: Site, good: dict[str, str]) -> None:
    for _ in range(20 // STRIDE):
        reset(site)
        choices = [("3.12",), ("3.12", "3.11"), ("3.11", "3.12"), ("3.12",)]
        pids = []
        for pythons in choices:
            pid = os.fork()
            if pid == 0:
                statuses = {result.status for result in site.build(pythons)}
                os._exit(0 if statuses <= {"built", "unchanged"} else 1)
            pids.append(pid)
        site.injected.append("together")
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0, 0]
        assert len(site.wheels()) == 2
        assert good.items() <= site.wheels().items()
        assert site.leftovers() == []


def test_a_compiler_that_fails_on_one_architecture_stops_only_its_cells(site: Site) -> None:
    (result,) = site.build(refuse="sm_90a")
    assert (result.status, result.exit_code) == ("failed", 4)
    assert "kernels/sage2/tiny.cu:3: error" in result.problem
    assert "sm_90a" in result.problem
    assert site.wheels() == {}
    assert [r.status for r in site.build()] == ["built"]


def state(cache: Path) -> list[tuple[Path, int]]:
    """Every file and when it was written; the seals, whose times say when an entry was last used, left out."""
    return sorted((p, p.stat().st_mtime_ns) for p in cache.rglob("*") if p.name != ".entry.json")


def test_a_cache_that_holds_everything_may_be_read_only(site: Site, good: dict[str, str]) -> None:
    site.build()
    shutil.rmtree(site.dist)
    before = state(site.cache)
    assert faults.strike(site, 10**9, "kill") == 0
    assert site.wheels() == good
    assert state(site.cache) == before


def test_threads_end_with_the_build(site: Site) -> None:
    site.build()
    assert [t for t in threading.enumerate() if t is not threading.main_thread()] == []


def test_an_entry_that_many_want_at_once_is_never_taken_for_damaged(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "data").write_bytes(b"x")

    store = Store(tmp_path)
    for number in range(40):
        pids = []
        for _ in range(6):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    entry, _ = store.fetch("kind", f"{number:04}", fill)
                    code = (entry / "data").read_bytes() != b"x"
                finally:
                    os._exit(code)
            pids.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6
