"""Finding CPython interpreters: the running one, uv's, pyenv's versions folder, PATH and the ``py`` launcher."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from buildtool.errors import ToolchainError
from buildtool.make.runner import Runner, base_environment

_PROBE = (
    "import sys, sysconfig; print('%d.%d%s' % (*sys.version_info[:2], "
    "'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else '')); print(sys.implementation.name)"
)
_PROBE_SECONDS = 20.0


def find_uv(environ: Mapping[str, str] | None = None) -> Path:
    """The uv program: from its PyPI wheel in this environment, else on PATH."""
    env = os.environ if environ is None else environ
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin  # noqa: PLC0415 - optional, and only looked for when a toolchain is needed

        return Path(find_uv_bin())
    if found := shutil.which("uv", path=env.get("PATH")):
        return Path(found)
    raise ToolchainError("uv is not installed in this environment", f"{sys.executable} -m pip install uv")


def find_python(version: str, runner: Runner, *, uv: Path | None = None, download: bool = True) -> Path | None:
    """A working CPython of this version (``3.12``, ``3.13t``), or None. A shim that does not run is passed over.

    uv may download one when nothing is installed and ``download`` allows it.
    """
    if version == running():
        return Path(sys.executable)
    for candidate in _candidates(version, os.environ):
        if works(candidate, version, runner):
            return candidate
    if (launcher := shutil.which("py")) and (found := _from_launcher(launcher, version, runner)):
        return found
    if uv is None:
        return None
    found = _from_uv(uv, version, runner)
    if found is None and download:
        runner.run([uv, "python", "install", "--no-bin", version], env=base_environment(), timeout=600)
        found = _from_uv(uv, version, runner)
    return found


def works(python: Path, version: str, runner: Runner) -> bool:
    """Whether this program starts and is CPython of that version."""
    try:
        argv: list[str | Path] = [python, "-I", "-S", "-c", _PROBE]
        result = runner.run(argv, env=base_environment(), timeout=_PROBE_SECONDS)
    except ToolchainError:
        return False
    return result.returncode == 0 and result.stdout.split() == [version, "cpython"]


def running() -> str:
    """The version of the interpreter that runs this, e.g. ``3.12`` or ``3.13t``."""
    import sysconfig  # noqa: PLC0415 - slow to import, used once

    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{sys.version_info.major}.{sys.version_info.minor}{free_threaded}"


def _candidates(version: str, environ: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{version}"
    pyenv = Path(environ.get("PYENV_ROOT") or Path("~/.pyenv").expanduser()) / "versions"
    for folder in (pyenv, Path(sys.base_prefix).parent):
        with suppress(OSError):
            releases = [p for p in folder.iterdir() if re.fullmatch(rf"{re.escape(version)}(\.\d+)?t?", p.name)]
            for release in sorted(releases, key=_release_number, reverse=True):
                program = release / ("python.exe" if sys.platform == "win32" else f"bin/{name}")
                if program.is_file():
                    yield program
    for folder_name in environ.get("PATH", "").split(os.pathsep):
        program = Path(folder_name) / (f"{name}.exe" if sys.platform == "win32" else name)
        if program.is_file() and os.access(program, os.X_OK):
            yield program


def _from_uv(uv: Path, version: str, runner: Runner) -> Path | None:
    argv: list[str | Path] = [uv, "python", "find", "--no-project", "--no-python-downloads", "--system", version]
    result = runner.run(argv, env=base_environment(), timeout=120)
    path = Path(result.stdout.strip())
    return path if result.returncode == 0 and works(path, version, runner) else None


def _from_launcher(launcher: str, version: str, runner: Runner) -> Path | None:
    """What the Windows ``py`` launcher (PEP 397) starts for this version."""
    result = runner.run([launcher, f"-{version}", "-c", "import sys; print(sys.executable)"], env=base_environment())
    path = Path(result.stdout.strip())
    return path if result.returncode == 0 and works(path, version, runner) else None


def _release_number(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", path.name))
