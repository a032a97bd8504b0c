from __future__ import annotations

import re
from pathlib import Path

import pytest

from buildtool.errors import ConfigError
from buildtool.plan.matrix import Matrix, parse_matrix
from buildtool.render.docker import Tools, bake_cells, render_bake, render_dockerfile
from buildtool.render.naming import cell_name


def test_bake_has_every_linux_cell_of_the_sets_and_no_other(matrix: Matrix) -> None:
    text = render_bake(matrix)
    names = {cell_name(cell) for cell in bake_cells(matrix)}
    assert set(re.findall(r'\{ name = "([^"]+)"', text)) == names
    assert (
        len(names) == 133 + 5 + 3 + 80 + 3
    )  # of sageattention: all, next, manylinux; of sageattn3: fp4-all, manylinux
    assert not [name for name in names if "win_" in name or "aarch64" in name]


def test_a_platform_without_an_image_cannot_be_rendered(root: Path) -> None:
    text = (root / "matrix.toml").read_text("utf-8")
    start, end = text.index("[platform.manylinux"), text.index("[platform.win_amd64]")
    text = text[:start] + text[end:]
    start, end = text.index("[set.manylinux]"), text.index("[set.aarch64]")
    matrix = parse_matrix(text[:start] + text[end:])
    with pytest.raises(ConfigError, match="no platform has a container image"):
        render_dockerfile(matrix, "@IMAGE@", Tools(uv="1", nox="1", python="3.12"))
