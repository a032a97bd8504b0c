"""The cibuildwheel configuration of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tomlkit

from buildtool.errors import UsageError
from buildtool.plan.cells import Cell
from buildtool.plan.matrix import Matrix
from buildtool.plan.tags import interpreter_tags

EXCLUDED_LIBRARIES = ("libtorch*.so", "libc10*.so")
"""What a wheel links and torch brings: auditwheel must not copy it. The driver is opened at run time, not linked."""


def identifier(cell: Cell) -> str:
    """What cibuildwheel calls the build, for ``--only``: ``cp312-manylinux_x86_64``."""
    abi = interpreter_tags(cell.combo.python)[1]
    machine = "aarch64" if cell.combo.platform.endswith("aarch64") else "x86_64"
    system = "win_amd64" if cell.combo.platform == "win_amd64" else f"manylinux_{machine}"
    return f"{abi}-{system}"


def repair_command(cell: Cell) -> str:
    """The repair step: the tag that the matrix says, never the one that the image would suggest.

    What auditwheel has packed in its own way is then packed in ours, so that the audit sees the form that is shipped.
    """
    if not cell.combo.platform.startswith("manylinux"):
        return ""
    excludes = " ".join(f"--exclude '{pattern}'" for pattern in EXCLUDED_LIBRARIES)
    repair = f"auditwheel repair --plat {cell.combo.platform} --only-plat {excludes} -w /tmp/repaired {{wheel}}"
    return f"{repair} && python -m buildtool.make.wheel /tmp/repaired/{cell.wheel} {{dest_dir}}"


def render_config(
    matrix: Matrix,
    cell: Cell,
    *,
    audit: str = "",
    engine: str = "docker",
    create_args: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    image: str = "",
) -> str:
    """The text of a ``--config-file`` for a manylinux cell.

    ``audit`` is the command that judges the repaired wheel on the host (``{wheel}`` stands for it); ``create_args`` go
    to the container engine, for instance to mount a cache; ``environment`` is set for the build; ``image`` takes the
    place of the matrix's. The build finds its toolchain itself, so the front end isolates nothing: an isolated
    environment would hold all of torch's dependencies.
    """
    facts = matrix.facts.platform[cell.combo.platform]
    if facts.container is None and not image:
        raise UsageError(
            f"{cell.combo.platform} wheels are not built in a container",
            f"choose platform={', '.join(n for n, p in matrix.facts.platform.items() if p.container)}",
        )
    frontend = tomlkit.inline_table()
    frontend.update({"name": "build[uv]", "args": ["--no-isolation", "--skip-dependency-check"]})
    container = tomlkit.inline_table()
    container.update({"name": engine, "create-args": list(create_args)})
    settings = tomlkit.inline_table()
    settings.update({"build-tag": cell.build_tag, "platform": cell.combo.platform})
    table = tomlkit.table()
    table.update(
        {
            "build": identifier(cell),
            "build-frontend": frontend,
            "config-settings": settings,
            "before-build": "uv pip install --group buildtool",
            "container-engine": container,
            f"manylinux-{facts.machine}-image": image or facts.container,
            "repair-wheel-command": repair_command(cell),
            "audit-requires": [],
            "audit-command": audit,
        }
    )
    if environment:
        values = tomlkit.inline_table()
        values.update(dict(environment))
        table["environment"] = values
    document = tomlkit.document()
    document.add(tomlkit.comment(f"Rendered for {cell.wheel}"))
    document["tool"] = {"cibuildwheel": table}
    return tomlkit.dumps(document)
