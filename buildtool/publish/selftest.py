"""The proof that an index cannot be got wrong: pip and uv install from every channel of a site served on loopback.

Each environment has a torch that consists of metadata alone, or on request the real one, with stubs of what it requires
(three gigabytes that nothing here loads). From the right channel the right wheel must arrive and torch must stay as it
is; with another torch or Python the installers must refuse. The same wheels on one flat page must fail the same test,
or the test proves nothing.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.parser import Parser
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from buildtool.make.interpreters import find_python
from buildtool.make.runner import Runner, base_environment
from buildtool.plan.tags import minor_of, version_key
from buildtool.publish.clients import Client, Target, site_packages
from buildtool.publish.index import FILES
from buildtool.publish.variants import CHANNEL as VARIANTS

WRONG_TORCH = "1.13.1"
"""A torch that no channel is for."""
_EPOCH = (2020, 2, 2, 0, 0, 0)


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

    runner: Runner
    uv: Path
    clients: Sequence[Client]
    platforms: frozenset[str]
    """Platform tags whose wheels this machine can install."""
    scratch: Path
    real_torch: str = ""
    """A channel that is tested with the real torch instead of a stub; empty for none."""
    pythons: dict[str, Path | None] = field(default_factory=dict)

    def python(self, version: str) -> Path | None:
        """An interpreter of that version on this machine."""
        if version not in self.pythons:
            self.pythons[version] = find_python(version, self.runner, uv=self.uv, download=False)
        return self.pythons[version]


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
    here = [row for row in rows if row.platform in bench.platforms and bench.python(row.python)]
    torches = sorted({row.torch for row in here}, key=version_key)
    if len({minor_of(torch) for torch in torches}) < 2:  # noqa: PLR2004 - one torch cannot be taken for another
        return
    oldest = torches[0]
    row = next(row for row in here if row.torch == oldest)
    flat = bench.scratch / "flat"
    _flat_site(flat, site, rows, torches)
    with serve(flat) as address:
        for client in bench.clients:
            python = _environment(bench, row.python, oldest)
            before = _state(python, "torch")
            result = client.install(row.package, f"{address}/", Target(python))
            after = _state(python, "torch")
            swapped = before != after
            seen = f"torch {_torch_version(before)} became {_torch_version(after)}" if swapped else _tail(result.stderr)
            held = result.returncode == 0 and not swapped and _build(python, row.package) == row.build_tag
            yield _outcome(client, row, "flat page", seen or "torch stayed", ok=not held)


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


def stub_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel that holds nothing but its metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: buildtool\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{member},,\n" for member in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in files.items():
            archive.writestr(zipfile.ZipInfo(member, _EPOCH), text)
    return path


def _cell(row: Row, rows: Sequence[Row], index: str, bench: Bench) -> Iterator[Outcome]:
    """The right torch, then another one; a foreign platform or Python only has its choice of wheel tested."""
    rivals = [r for r in rows if (r.channel, r.package, r.python, r.platform) ==
              (row.channel, row.package, row.python, row.platform)]  # fmt: skip
    if row != max(rivals, key=lambda r: version_key(r.torch)):
        return  # an older patch release of the same minor: the newest one is what is to be chosen
    interpreter = bench.python(row.python)
    for number, client in enumerate(bench.clients):
        if interpreter is None or row.platform not in bench.platforms:
            yield _foreign(row, index, bench, client, number)
            continue
        for case, torch in (("right", row.torch), ("other torch", WRONG_TORCH)):
            real = case == "right" and row.channel == bench.real_torch
            python = _environment(bench, row.python, torch, real=real)
            before = _state(python, "torch")
            result = client.install(row.package, index, Target(python))
            untouched = _state(python, "torch") == before
            build = _build(python, row.package)
            if case == "right":
                ok = result.returncode == 0 and build == row.build_tag
                seen = f"build {build or 'none'}" if result.returncode == 0 else _tail(result.stderr)
            else:
                ok = result.returncode != 0 and not build
                seen = "refused" if ok else f"installed build {build}"
            label = f"{case} (real)" if real else case
            yield _outcome(client, row, label, seen if untouched else f"{seen}; torch was touched", ok=ok and untouched)


def _foreign(row: Row, index: str, bench: Bench, client: Client, number: int) -> Outcome:
    folder = bench.scratch / f"foreign-{row.name}-{number}"
    python = next(path for path in bench.pythons.values() if path)
    result = client.install(row.package, index, Target(python, folder, row.python, row.platform))
    build, tag = _wheel_headers(folder, row.package)
    ok = result.returncode == 0 and build == row.build_tag and tag.endswith(row.platform)
    shutil.rmtree(folder, ignore_errors=True)
    return _outcome(client, row, "right (choice only)", f"build {build}" if ok else _tail(result.stderr), ok=ok)


def _other_python(channel: str, rows: Sequence[Row], index: str, bench: Bench) -> Iterator[Outcome]:
    """With a Python that the channel has no wheel for, every client must refuse."""
    own = [row for row in rows if row.channel == channel]
    covered = {row.python for row in own}
    version = next(
        (v for v in ("3.9", "3.10", "3.11", "3.13", "3.12", "3.14") if v not in covered and bench.python(v)), None
    )
    if version is None:
        return
    for client in bench.clients:
        python = _environment(bench, version, own[0].torch)
        before = _state(python, "torch")
        result = client.install(own[0].package, index, Target(python))
        ok = result.returncode != 0 and not _build(python, own[0].package) and _state(python, "torch") == before
        yield Outcome(client.name, channel, own[0].package, version, own[0].platform, "other Python",
                      ok, "refused" if ok else "installed something")  # fmt: skip


def _variants(row: Row, index: str, bench: Bench) -> Iterator[Outcome]:
    """From the page of all variants an installer takes the right one, or, not knowing variants, refuses."""
    if row.platform not in bench.platforms or bench.python(row.python) is None:
        return
    for client in bench.clients:
        python = _environment(bench, row.python, row.torch)
        before = _state(python, "torch")
        result = client.install(row.package, index, Target(python))
        build = _build(python, row.package)
        ok = build == row.build_tag if result.returncode == 0 else not build
        seen = f"build {build}" if build else "refused"
        yield _outcome(client, row, "variants", seen, ok=ok and _state(python, "torch") == before)


def _environment(bench: Bench, python: str, torch: str, *, real: bool = False) -> Path:
    """A new environment with that torch and nothing else; returns its interpreter."""
    folder = Path(tempfile.mkdtemp(prefix="env-", dir=bench.scratch))
    interpreter = bench.python(python)
    argv: list[str | Path] = [
        bench.uv,
        "venv",
        "--quiet",
        "--no-project",
        "--no-config",
        "--python",
        str(interpreter),
        folder / "env",
    ]
    bench.runner.run(argv, env=base_environment(), timeout=120)
    program = next(p for p in (folder / "env/bin/python", folder / "env/Scripts/python.exe") if p.exists())
    if real:
        _install(bench, program, f"torch=={torch}")
        _install(bench, program, *_dependencies(bench, site_packages(program)), "--no-index", "--no-cache")
    else:
        _install(bench, program, stub_wheel(bench.scratch / "stubs", "torch", torch), "--no-index", "--no-cache")
    return program


def _install(bench: Bench, program: Path, *wanted: str | Path) -> None:
    argv = [bench.uv, "pip", "install", "--quiet", "--python", program, "--no-deps", *wanted]
    bench.runner.run(argv, env=base_environment(), timeout=1800)


def _dependencies(bench: Bench, site: Path) -> list[Path]:
    """Stubs of all that the installed torch requires: installers ask whether it is there, and nothing uses it."""
    (metadata,) = site.glob("torch-*.dist-info/METADATA")
    requirements = map(Requirement, Parser().parsestr(metadata.read_text("utf-8")).get_all("Requires-Dist", []))
    return [
        stub_wheel(bench.scratch / "stubs", canonicalize_name(r.name).replace("-", "_"), satisfying(r.specifier))
        for r in requirements
        if r.marker is None or r.marker.evaluate({"extra": ""})
    ]


def satisfying(wanted: SpecifierSet) -> str:
    """Some version that a requirement admits: the one it names, or the first one above its bounds."""
    named = [s.version.removesuffix(".*") for s in wanted if s.operator in {"==", ">=", "~=", "<=", "==="}]
    above = [f"{s.version}.1" for s in wanted if s.operator in {">", ">="}]
    candidates = [*named, *above, "1.0", "0.1"]
    return next((version for version in candidates if version in wanted), candidates[0])


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


def _state(python: Path, package: str) -> tuple[str, ...]:
    """What an environment holds of a package: its folder's name, and a digest of its RECORD."""
    folders = sorted(site_packages(python).glob(f"{package}-*.dist-info"))
    return tuple(f"{f.name} {hashlib.sha256((f / 'RECORD').read_bytes()).hexdigest()}" for f in folders)


def _torch_version(state: tuple[str, ...]) -> str:
    return state[0].split(".dist-info")[0].removeprefix("torch-") if state else "none"


def _build(python: Path, package: str) -> str:
    return _wheel_headers(site_packages(python), package)[0]


def _wheel_headers(folder: Path, package: str) -> tuple[str, str]:
    """Build and Tag of the installed wheel; empty if it is not installed."""
    for path in folder.glob(f"{package.replace('-', '_')}-*.dist-info/WHEEL"):
        headers = Parser().parsestr(path.read_text("utf-8"))
        return str(headers.get("Build", "")), str(headers.get("Tag", ""))
    return "", ""


def _outcome(client: Client, row: Row, case: str, seen: str, *, ok: bool) -> Outcome:
    return Outcome(client.name, row.channel, row.package, row.python, row.platform, case, ok, seen)


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
