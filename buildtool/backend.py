"""The PEP 517 and PEP 660 backend: hatchling's wheel, plus the cubins and the binding of the cell that is pinned.

The cell is the one whose pins stand in ``[build-system] requires``, for the Python that runs the hook and this
machine's platform. Config settings (``pip install --config-settings KEY=VALUE``, ``python -m build -C KEY=VALUE``):

``build-tag``  PEP 427 build tag of the wheel; default: the cell's, such as ``280.128``
``platform``   platform tag; default: this machine's native one
``jobs``       compilers at a time; default: by cores and memory
``lineinfo``   ``1`` keeps source lines in the cubins

The hooks run on every Python that the wheels are for. What they call needs 3.11: on older ones the hook runs itself
again under a newer interpreter. Hence no import of the rest of buildtool at the top of this file.
"""

from __future__ import annotations

import json
import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from buildtool.errors import BuildToolError, ToolchainError, UsageError

_SETTINGS = frozenset({"build-tag", "platform", "jobs", "lineinfo"})
_LOWEST = (3, 11)


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:  # noqa: ARG001
    """Nothing beyond ``[build-system] requires``."""
    return []


get_requires_for_build_editable = get_requires_for_build_sdist = get_requires_for_build_wheel


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build an sdist that can be built alone: kernels, matrix and this program are in it."""
    from hatchling import build  # noqa: PLC0415 - hatchling reads the working directory when it is imported

    return str(build.build_sdist(sdist_directory, config_settings))


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Write the wheel's METADATA without building anything; returns the name of the dist-info folder."""
    del config_settings  # nothing in METADATA depends on them
    from hatchling.builders.wheel import WheelBuilder  # noqa: PLC0415

    builder = WheelBuilder(str(Path.cwd()))
    folder = Path(metadata_directory, f"{builder.artifact_project_id}.dist-info")
    folder.mkdir(exist_ok=True)
    text = builder.config.core_metadata_constructor(builder.metadata)
    (folder / "METADATA").write_text(text, "utf-8")
    return folder.name


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel of the pinned cell into ``wheel_directory``; returns its file name."""
    return _guarded("wheel", wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Put the native files into the source tree and build a wheel that points there; returns its file name."""
    return _guarded("editable", wheel_directory, config_settings, metadata_directory)


def _guarded(kind: str, folder: str, settings: dict[str, Any] | None, metadata: str | None) -> str:
    """Run the hook; print an error as the command line does, without a traceback of this program."""
    del metadata  # it was made from the same pyproject.toml, and is made again
    try:
        request = {
            "kind": kind,
            "folder": str(Path(folder).absolute()),
            "settings": _checked(settings),
            "python": _python(),
            "paths": [path for path in sys.path if path],
            "platform": _platform(),
        }
        return build_in_newer_python(request) if sys.version_info < _LOWEST else build(request)
    except BuildToolError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"  fix: {error.hint}\n" if error.hint else ""))
        raise SystemExit(error.exit_code) from None


def _checked(settings: dict[str, Any] | None) -> dict[str, str]:
    given = {key: str(value) for key, value in (settings or {}).items()}
    unknown = sorted(set(given) - _SETTINGS)
    if unknown:
        raise UsageError(f"unknown config setting {unknown[0]!r}", f"known are {', '.join(sorted(_SETTINGS))}")
    if not re.fullmatch(r"(\d[A-Za-z0-9_.]*)?", given.get("build-tag", "")):
        raise UsageError(f"{given['build-tag']!r} is no build tag", "start it with a digit (PEP 427), e.g. 280.128")
    return given


def _python() -> str:
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{sys.version_info[0]}.{sys.version_info[1]}{free_threaded}"


def _platform() -> str:
    return re.sub(r"[-.]", "_", sysconfig.get_platform())


def build(request: dict[str, Any]) -> str:
    """Build what a hook asks for; see ``_guarded`` for the request. Needs Python 3.11."""
    from buildtool.backend_build import run  # noqa: PLC0415 - needs 3.11

    return run(request, Path.cwd())


def build_in_newer_python(request: dict[str, Any]) -> str:
    """Run :func:`build` under a newer interpreter that uv provides with this backend's own requirements."""
    from buildtool.make.interpreters import find_python, find_uv  # noqa: PLC0415
    from buildtool.make.runner import Processes, base_environment  # noqa: PLC0415

    runner, uv = Processes(), find_uv()
    found = next((p for v in ("3.13", "3.12", "3.11") if (p := find_python(v, runner, uv=uv, download=False))), None)
    program = Path(__file__).absolute().parent.parent
    with tempfile.TemporaryDirectory() as scratch:
        answer, question = Path(scratch, "answer"), Path(scratch, "request.json")
        question.write_text(json.dumps(request))
        argv = [str(uv), "run", "--quiet", "--no-project", "--isolated", "--python", str(found or "3.12")]
        for requirement in _own_requirements():
            argv += ["--with", requirement]
        argv += ["python", "-m", "buildtool.backend", str(question), str(answer)]
        result = runner.run(argv, cwd=Path.cwd(), env={**base_environment(), "PYTHONPATH": str(program)})
        sys.stderr.write(result.stderr)
        if result.returncode != 0 or not answer.is_file():
            raise ToolchainError(
                f"the build needs Python {'.'.join(map(str, _LOWEST))} or newer beside {sys.version.split()[0]}",
                "see the messages above; any installed CPython 3.11 or newer will do",
            )
        return answer.read_text()


def _own_requirements() -> list[str]:
    """What this program itself imports: the build requirements but torch and the CUDA toolchain."""
    import tomlkit  # noqa: PLC0415 - tomllib is not in Python 3.10

    document = tomlkit.parse(Path("pyproject.toml").read_text("utf-8"))
    requires = [str(requirement) for requirement in document["build-system"]["requires"]]
    return [requirement for requirement in requires if not re.match(r"torch\b|nvidia-", requirement)]


if __name__ == "__main__":
    try:
        Path(sys.argv[2]).write_text(build(json.loads(Path(sys.argv[1]).read_text())))
    except BuildToolError as failure:
        sys.stderr.write(f"error: {failure.message}\n" + (f"  fix: {failure.hint}\n" if failure.hint else ""))
        sys.exit(failure.exit_code)
