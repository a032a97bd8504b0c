"""Fixtures for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or is looked for, says nothing on a machine that does other things too.
settings.register_profile("buildtool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("buildtool")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout under test."""
    return ROOT
