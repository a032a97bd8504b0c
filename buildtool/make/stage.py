"""The staged copy: what a build reads, frozen at its start, with the cell's pins written in. The tree stays clean."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildtool.errors import ConfigError, Fault
from buildtool.make.store import digest, file_digest
from buildtool.plan.cells import Cell
from buildtool.plan.pins import rewrite_pins

_SKIPPED = shutil.ignore_patterns("__pycache__", "*.py[cod]", "_native", ".*", "*.egg-info")
NATIVE = "_native"
"""Folder inside the import package that holds the binding, the cubins and the record."""


@dataclass(frozen=True)
class Package:
    """One distribution of the project: its name, and the folder of its pyproject.toml below the project's root."""

    name: str
    folder: Path

    @property
    def binding(self) -> str:
        """The C++ source of its binding, below ``kernels/``."""
        return f"binding/{self.name}.cpp"

    @property
    def native_folder(self) -> str:
        """Archive path of its native files; the import package has the distribution's name."""
        return f"{self.name}/{NATIVE}"


def snapshot_kernels(project: Path, folder: Path) -> Path:
    """Copy ``kernels/`` so that what is hashed is what is compiled; returns the copy."""
    return Path(shutil.copytree(project / "kernels", folder / "kernels", ignore=_SKIPPED))


def stage_package(project: Path, package: Package, cell: Cell, folder: Path) -> Path:
    """Copy what the wheel of ``package`` is made of, pins rewritten for ``cell``; returns the folder to build in."""
    origin = project / package.folder
    text = (origin / "pyproject.toml").read_text("utf-8")
    target = folder / "package"
    target.mkdir(parents=True)
    for relative in package_files(origin, text):
        source = origin / relative
        if source.is_dir():
            shutil.copytree(source, target / relative, ignore=_SKIPPED)
        else:
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / relative)
    (target / "pyproject.toml").write_text(rewrite_pins(text, cell, f"{package.folder / 'pyproject.toml'}"), "utf-8")
    return target


def package_files(origin: Path, text: str) -> list[str]:
    """What a pyproject.toml says the wheel needs: the import packages, the readme and the licence files."""
    document = tomllib.loads(text)
    project: dict[str, Any] = document.get("project", {})
    try:
        packages = document["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    except KeyError as error:
        key = "tool.hatch.build.targets.wheel.packages"
        raise ConfigError([Fault(str(origin / "pyproject.toml"), key, "missing", hint="list the packages")]) from error
    files = list(packages)
    if isinstance(project.get("readme"), str):
        files.append(project["readme"])
    for pattern in project.get("license-files", []):
        files += [path.relative_to(origin).as_posix() for path in sorted(origin.glob(pattern))]
    missing = [name for name in files if not (origin / name).exists()]
    if missing:
        raise ConfigError(
            [Fault(str(origin / "pyproject.toml"), "", f"names {n}, which is not there") for n in missing]
        )
    return files


def source_digest(kernels: Path, package: Path, name: str) -> str:
    """``sha256:…`` over the kernels, the binding and the package's own files, and nothing else."""
    files = {f"kernels/{relative}": value for relative, value in _digests(kernels)}
    files |= {f"{name}/{relative}": value for relative, value in _digests(package / name)}
    return f"sha256:{digest(files)}"


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not {NATIVE, "__pycache__"} & set(relative.parts):
            yield relative.as_posix(), file_digest(path)
