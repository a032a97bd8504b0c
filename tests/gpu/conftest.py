"""GPU tests: the installed wheel on this machine's GPU. ``--record FILE`` writes what was run and measured as JSON."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for exact.py

MEASURED = pytest.StashKey[dict[str, float]]()
OUTCOMES = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpu tests")
    group.addoption("--record", type=Path, help="write results and measured errors to this JSON file")
    group.addoption("--comfyui", type=Path, help="ComfyUI's comfy/ldm/modules/attention.py, to test it as a client")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MEASURED] = {}
    config.stash[OUTCOMES] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    try:
        import torch

        reason = "" if torch.cuda.is_available() else "needs an NVIDIA GPU"
    except ImportError:
        reason = "needs PyTorch and an NVIDIA GPU"
    if reason:
        for item in items:
            if "gpu" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        item.config.stash[OUTCOMES][item.nodeid.partition("tests/gpu/")[2]] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--record", None)
    if path is not None:
        path.write_text(json.dumps(_results(session.config), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _results(config: pytest.Config) -> dict[str, Any]:
    import torch

    from sageattention import _machine, _record

    outcomes = list(config.stash[OUTCOMES].values())
    record = _record.read()
    return {
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "source_digest": record.source_digest if record else "",
        "wheel": {"version": record.version, "build_tag": record.build_tag, "archs": record.archs} if record else {},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "driver": _machine.probe().driver,
        "torch": torch.__version__,
        "counts": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "not_passed": {name: outcome for name, outcome in config.stash[OUTCOMES].items() if outcome != "passed"},
        "measured": {name: float(f"{value:.4g}") for name, value in config.stash[MEASURED].items()},
    }


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Callable[[str, float], float]:
    """Keep a number for ``--record``, and hand it back."""

    def keep(name: str, value: float) -> float:
        pytestconfig.stash[MEASURED][name] = value
        return value

    return keep


@pytest.fixture(scope="session")
def sage() -> Any:
    """The installed package."""
    return pytest.importorskip("sageattention", exc_type=ImportError)


@pytest.fixture(scope="session")
def native_paths(sage: Any) -> frozenset[str]:
    """The native paths that this wheel has kernels for on this GPU, beyond what dispatch chooses there."""
    import torch

    from sageattention import _dispatch, core

    arch = _dispatch.arch_for(torch.cuda.get_device_capability(), core._RECORD.archs)
    names = core._RECORD.instances.get(str(arch), ())
    assert sage
    return frozenset(path for path in _dispatch.PATHS if _dispatch.kernel(path, "f16", 64, "fp32", False) in names)
