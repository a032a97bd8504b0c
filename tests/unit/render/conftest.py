from __future__ import annotations

from pathlib import Path

import pytest

from buildtool.plan.matrix import Matrix, load_matrix


@pytest.fixture(scope="session")
def matrix(root: Path) -> Matrix:
    """The project's own matrix."""
    return load_matrix(root / "matrix.toml")
