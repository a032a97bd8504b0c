"""Cubins and bindings are made side by side."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from buildtool.make import parts
from buildtool.make.schedule import Work
from buildtool.make.workshop import Workshop
from buildtool.plan.cells import BuildPlan


def test_an_interrupt_ends_what_runs_beside_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, seen = threading.Event(), []

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "_make_bindings", lambda *_: seen.append(ended.wait(20)))
    monkeypatch.setattr(parts, "_make_cubins", interrupted)
    shop = cast("Workshop", SimpleNamespace(runner=SimpleNamespace(terminate=ended.set)))
    with pytest.raises(KeyboardInterrupt):
        parts.make_parts(Work(BuildPlan(()), (), (), (), ()), shop, Path())
    assert seen == [True]  # the compiler was ended, not waited for
