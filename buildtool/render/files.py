"""Every committed file that is rendered, by path: the one list that `render` writes and checks."""

from __future__ import annotations

from collections.abc import Mapping

from buildtool.plan.matrix import Matrix
from buildtool.render.docker import render_bake, render_dockerfile
from buildtool.render.tables import readme_sections
from buildtool.render.text import replace_section
from buildtool.render.workflows import parse_pins, render_workflows

DOCKERFILE_TEMPLATE = "docker/Dockerfile.in"
TEMPLATES = "buildtool/render/templates"
PINS = "buildtool/render/pins.toml"
README = "README.md"
REQUIRED_SECTION = "cells"
"""The generated section that the README must have; it has the others where it wants them."""


def rendered_files(matrix: Matrix, sources: Mapping[str, str]) -> dict[str, str]:
    """Path → text of every rendered file. ``sources`` has the templates, the pins and the README by path."""
    pins = parse_pins(sources[PINS])
    templates = {path.rsplit("/", 1)[1]: text for path, text in sources.items() if path.startswith(f"{TEMPLATES}/")}
    files = {
        "docker/Dockerfile": render_dockerfile(matrix, sources[DOCKERFILE_TEMPLATE], pins.tools, DOCKERFILE_TEMPLATE),
        "docker-bake.hcl": render_bake(matrix),
        README: sources[README],
    }
    for name, text in sorted(render_workflows(matrix, templates, pins).items()):
        files[f".github/workflows/{name}"] = text
    for name, content in readme_sections(matrix).items():
        if name == REQUIRED_SECTION or f"<!-- {name}: begin -->" in files[README]:
            files[README] = replace_section(files[README], name, content, README)
    return files
