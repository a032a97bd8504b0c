"""The proof that an index cannot be got wrong: pip and uv install from every channel of a site served on loopback.

From the right channel the right wheel must arrive and torch must stay as it is; with another torch or Python the
installers must refuse. The same wheels on one flat page must fail the same test, or the test proves nothing.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from buildtool.plan.tags import minor_of, version_key
from buildtool.publish.clients import Client, Target
from buildtool.publish.environments import Environments, build_tag, state, stub_wheel, torch_version, wheel_headers
from buildtool.publish.index import FILES
from buildtool.publish.variants import CHANNEL as VARIANTS

WRONG_TORCH = "1.13.1"
"""A torch that no channel is for."""
PYTHONS = ("3.9", "3.10", "3.11", "3.13", "3.12", "3.14")
"""Pythons to try a channel with that has no wheel for one of them."""


@dataclass(frozen=True)
class Row:
    """One wheel of the manifest, as far as the test needs it."""

    name: str
    package: str
    channel: str
    torch: str
    python: str
    platform: str
    build_tag: str


@dataclass(frozen=True)
class Outcome:
    """One installation and whether it went as it must."""

    client: str
    channel: str
    package: str
    python: str
    platform: str
    case: str
    """``right``, ``other torch``, ``other Python``, ``variants`` or ``flat page``."""
    ok: bool
    seen: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Bench:
    """Everything the test works with."""

    environments: Environments
    clients: Sequence[Client]
    platforms: frozenset[str]
    """Platform tags whose wheels this machine can install."""
    real_torch: str = ""
    """A channel that is tested with the real torch instead of a stub; empty for none."""


def rows_of(manifest: Mapping[str, Any]) -> tuple[Row, ...]:
    """The wheels of a ``wheels.json``."""
    facts = ({**row["plan"], **row} for row in manifest["wheels"])
    return tuple(Row(**{key: str(fact[key]) for key in Row.__dataclass_fields__}) for fact in facts)


def self_test(site: Path, bench: Bench) -> tuple[Outcome, ...]:
    """Try every cell of the site with every client. The control on a flat page comes last, if torches differ."""
    rows = rows_of(json.loads((site / "wheels.json").read_bytes()))
    with serve(site) as address:
        outcomes = [outcome for row in rows for outcome in _cell(row, rows, f"{address}/{row.channel}/", bench)]
        outcomes += [outcome for channel in sorted({row.channel for row in rows}) for outcome in
                     _other_python(channel, rows, f"{address}/{channel}/", bench)]  # fmt: skip
        if (site / VARIANTS).is_dir():
            outcomes += [outcome for row in rows for outcome in _variants(row, f"{address}/{VARIANTS}/", bench)]
    return (*outcomes, *control(site, rows, bench))


def control(site: Path, rows: Sequence[Row], bench: Bench) -> Iterator[Outcome]:
    """All wheels on one page, beside every torch. ``ok`` says that the page failed, as it has to."""
    here = [row for row in rows if row.platform in bench.platforms and bench.environments.python(row.python)]
    torches = sorted({row.torch for row in here}, key=version_key)
    if len({minor_of(torch) for torch in torches}) < 2:  # noqa: PLR2004 - one torch cannot be taken for another
        return
    oldest = torches[0]
    row = next(row for row in here if row.torch == oldest)
    flat = bench.environments.scratch / "flat"
    _flat_site(flat, site, rows, torches)
    with serve(flat) as address:
        for client in bench.clients:
            tried = _attempt(client, row.package, f"{address}/", bench, row.python, oldest)
            swapped = f"torch {torch_version(tried.before)} became {torch_version(tried.after)}"
            seen = tried.error or "torch stayed" if tried.untouched else swapped
            held = tried.installed and tried.untouched and tried.build == row.build_tag
            yield _outcome(client, row, "flat page", seen, ok=not held)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a free loopback port; yields the address without a slash at its end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nobody reads this log."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class _Attempt:
    """What an installer did to an environment."""

    installed: bool
    """Whether it said so."""
    build: str
    """Build tag of the wheel that is there now; empty for none."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    """The torch that was and is there."""
    error: str

    @property
    def untouched(self) -> bool:
        return self.before == self.after


def _attempt(
    client: Client, package: str, index: str, bench: Bench, python: str, torch: str, *, real: bool = False
) -> _Attempt:
    environment = bench.environments.make(python, torch, real=real)
    before = state(environment, "torch")
    result = client.install(package, index, Target(environment))
    after = state(environment, "torch")
    return _Attempt(result.returncode == 0, build_tag(environment, package), before, after, _tail(result.stderr))


def _cell(row: Row, rows: Sequence[Row], index: str, bench: Bench) -> Iterator[Outcome]:
    """The right torch, then another one; a foreign platform or Python only has its choice of wheel tested."""
    rivals = [r for r in rows if (r.channel, r.package, r.python, r.platform) ==
              (row.channel, row.package, row.python, row.platform)]  # fmt: skip
    if row != max(rivals, key=lambda r: version_key(r.torch)):
        return  # an older patch release of the same minor: the newest one is what is to be chosen
    interpreter = bench.environments.python(row.python)
    for number, client in enumerate(bench.clients):
        if interpreter is None or row.platform not in bench.platforms:
            yield _foreign(row, index, bench, client, number)
            continue
        for case, torch in (("right", row.torch), ("other torch", WRONG_TORCH)):
            real = case == "right" and row.channel == bench.real_torch
            tried = _attempt(client, row.package, index, bench, row.python, torch, real=real)
            if case == "right":
                ok = tried.installed and tried.build == row.build_tag
                seen = f"build {tried.build or 'none'}" if tried.installed else tried.error
            else:
                ok = not tried.installed and not tried.build
                seen = "refused" if ok else f"installed build {tried.build}"
            label = f"{case} (real)" if real else case
            seen = seen if tried.untouched else f"{seen}; torch was touched"
            yield _outcome(client, row, label, seen, ok=ok and tried.untouched)


def _foreign(row: Row, index: str, bench: Bench, client: Client, number: int) -> Outcome:
    folder = bench.environments.scratch / f"foreign-{row.name}-{number}"
    python = next(path for path in bench.environments.pythons.values() if path)
    result = client.install(row.package, index, Target(python, folder, row.python, row.platform))
    build, tag = wheel_headers(folder, row.package)
    ok = result.returncode == 0 and build == row.build_tag and tag.endswith(row.platform)
    shutil.rmtree(folder, ignore_errors=True)
    return _outcome(client, row, "right (choice only)", f"build {build}" if ok else _tail(result.stderr), ok=ok)


def _other_python(channel: str, rows: Sequence[Row], index: str, bench: Bench) -> Iterator[Outcome]:
    """With a Python that the channel has no wheel for, every client must refuse."""
    own = [row for row in rows if row.channel == channel]
    covered = {row.python for row in own}
    others = (version for version in PYTHONS if version not in covered and bench.environments.python(version))
    version = next(others, None)
    if version is None:
        return
    for client in bench.clients:
        tried = _attempt(client, own[0].package, index, bench, version, own[0].torch)
        ok = not tried.installed and not tried.build and tried.untouched
        yield Outcome(client.name, channel, own[0].package, version, own[0].platform, "other Python",
                      ok, "refused" if ok else "installed something")  # fmt: skip


def _variants(row: Row, index: str, bench: Bench) -> Iterator[Outcome]:
    """From the page of all variants an installer takes the right one, or, not knowing variants, refuses."""
    if row.platform not in bench.platforms or bench.environments.python(row.python) is None:
        return
    for client in bench.clients:
        tried = _attempt(client, row.package, index, bench, row.python, row.torch)
        ok = tried.build == row.build_tag if tried.installed else not tried.build
        seen = f"build {tried.build}" if tried.build else "refused"
        yield _outcome(client, row, "variants", seen, ok=ok and tried.untouched)


def _flat_site(folder: Path, site: Path, rows: Sequence[Row], torches: Sequence[str]) -> None:
    by_package: dict[str, list[Path]] = {"torch": [stub_wheel(folder / "stubs", "torch", torch) for torch in torches]}
    for row in rows:
        by_package.setdefault(row.package, []).append(site / FILES / row.name)
    for package, wheels in by_package.items():
        page = folder / package
        page.mkdir(parents=True)
        for wheel in wheels:
            shutil.copyfile(wheel, page / wheel.name)
        links = "".join(f'<a href="{wheel.name}">{wheel.name}</a>\n' for wheel in wheels)
        (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>", "utf-8")


def _outcome(client: Client, row: Row, case: str, seen: str, *, ok: bool) -> Outcome:
    return Outcome(client.name, row.channel, row.package, row.python, row.platform, case, ok, seen)


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
