"""auditwheel's opinion of a manylinux claim."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildtool.prove.audit import AuditWheel, agreement
from tests.unit.prove import synthetic as s
from tests.unit.prove.test_trial import Programs, result

GOOD = {"sym_tag": "manylinux_2_17_x86_64", "external_libs": {"libc10.so": None}, "unsupported_isa": False}
PLATFORM = "manylinux_2_28_x86_64"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({}, []),
        ({"sym_tag": "manylinux_2_28_x86_64"}, []),
        ({"sym_tag": "manylinux_2_34_x86_64"}, ["symbol versions"]),
        ({"sym_tag": "linux_x86_64"}, ["symbol versions"]),
        ({"sym_tag": "manylinux_2_17_aarch64"}, ["symbol versions"]),
        ({"external_libs": {"libfoo.so.1": None}}, ["external libraries"]),
        ({"unsupported_isa": True}, ["instructions"]),
    ],
)
def test_agreement(change: dict[str, Any], where: list[str]) -> None:
    assert [finding.where for finding in agreement({**GOOD, **change}, PLATFORM)] == where


def test_a_native_wheel_claims_nothing() -> None:
    assert AuditWheel(Programs({}))(Path("x.whl"), s.cell()) == ()


def test_no_auditwheel_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (finding,) = AuditWheel(Programs({}))(Path("x.whl"), s.cell(PLATFORM))
    assert (finding.code, finding.level) == ("platform.unchecked", "warning")


def test_an_answer_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    programs = Programs({})
    monkeypatch.setattr(programs, "run", lambda *_, **__: result(1, "", "no ELF inside"))
    (finding,) = AuditWheel(programs)(Path("x.whl"), s.cell(PLATFORM))
    assert finding.code == "platform.manylinux"
    assert "no ELF inside" in finding.seen
