"""Throwaway environments that installers are tried in, and what is in them afterwards.

The torch of such an environment is metadata alone or, on request, the real one, with stubs of what it requires (three
gigabytes that nothing here loads).
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from dataclasses import dataclass, field
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from buildtool.errors import ToolchainError
from buildtool.make.interpreters import find_python
from buildtool.make.runner import Runner, base_environment
from buildtool.publish.clients import site_packages

_EPOCH = (2020, 2, 2, 0, 0, 0)


@dataclass
class Environments:
    """Makes environments of the interpreters on this machine, all below one scratch folder."""

    runner: Runner
    uv: Path
    scratch: Path
    pythons: dict[str, Path | None] = field(default_factory=dict)

    def python(self, version: str) -> Path | None:
        """An interpreter of that version on this machine."""
        if version not in self.pythons:
            self.pythons[version] = find_python(version, self.runner, uv=self.uv, download=False)
        return self.pythons[version]

    def make(self, python: str, torch: str, *, real: bool = False) -> Path:
        """A new environment with that torch and nothing else; returns its interpreter."""
        folder = Path(tempfile.mkdtemp(prefix="env-", dir=self.scratch))
        argv: list[str | Path] = [self.uv, "venv", "--quiet", "--no-project", "--no-config"]
        self.runner.run(
            [*argv, "--python", str(self.python(python)), folder / "env"], env=base_environment(), timeout=120
        )
        program = next(p for p in (folder / "env/bin/python", folder / "env/Scripts/python.exe") if p.exists())
        if real:
            self._install(program, f"torch=={torch}")
            self._install(program, *self._dependencies(site_packages(program), python), "--no-index", "--no-cache")
        else:
            self._install(program, stub_wheel(self.scratch / "stubs", "torch", torch), "--no-index", "--no-cache")
        return program

    def _install(self, program: Path, *wanted: str | Path) -> None:
        argv = [self.uv, "pip", "install", "--quiet", "--python", program, "--no-deps", *wanted]
        result = self.runner.run(argv, env=base_environment(), timeout=1800)
        if result.returncode:
            what = ", ".join(Path(item).name for item in wanted if not str(item).startswith("-"))
            raise ToolchainError(
                f"{what} could not be installed:\n{result.stderr.strip()[-500:]}", "see the message above"
            )

    def _dependencies(self, site: Path, python: str) -> list[Path]:
        """Stubs of all that the installed torch requires: installers ask whether it is there, and nothing uses it."""
        (metadata,) = site.glob("torch-*.dist-info/METADATA")
        return [
            stub_wheel(self.scratch / "stubs", canonicalize_name(r.name).replace("-", "_"), satisfying(r.specifier))
            for r in required(metadata.read_text("utf-8"), python)
        ]


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


def required(metadata: str, python: str) -> list[Requirement]:
    """What a distribution requires on this machine with a Python like ``3.12``, without its extras."""
    there = {"extra": "", "python_version": python.rstrip("t"), "python_full_version": f"{python.rstrip('t')}.0"}
    requirements = map(Requirement, Parser().parsestr(metadata).get_all("Requires-Dist", []))
    return [r for r in requirements if r.marker is None or r.marker.evaluate(there)]


def satisfying(wanted: SpecifierSet) -> str:
    """Some version that a requirement admits: the one it names, or the first one above its bounds."""
    named = [s.version.removesuffix(".*") for s in wanted if s.operator in {"==", ">=", "~=", "<=", "==="}]
    above = [f"{s.version}.1" for s in wanted if s.operator in {">", ">="}]
    candidates = [*named, *above, "1.0", "0.1"]
    return next((version for version in candidates if version in wanted), candidates[0])


def state(python: Path, package: str) -> tuple[str, ...]:
    """What an environment holds of a package: its folder's name, and a digest of its RECORD."""
    folders = sorted(site_packages(python).glob(f"{package}-*.dist-info"))
    return tuple(f"{f.name} {hashlib.sha256((f / 'RECORD').read_bytes()).hexdigest()}" for f in folders)


def torch_version(found: tuple[str, ...]) -> str:
    """The version in what ``state`` found of torch."""
    return found[0].split(".dist-info")[0].removeprefix("torch-") if found else "none"


def build_tag(python: Path, package: str) -> str:
    """The build tag of the wheel that is installed; empty for none."""
    return wheel_headers(site_packages(python), package)[0]


def wheel_headers(folder: Path, package: str) -> tuple[str, str]:
    """Build and Tag of the installed wheel; empty if it is not installed."""
    for path in folder.glob(f"{package.replace('-', '_')}-*.dist-info/WHEEL"):
        headers = Parser().parsestr(path.read_text("utf-8"))
        return str(headers.get("Build", "")), str(headers.get("Tag", ""))
    return "", ""
