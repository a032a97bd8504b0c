"""GPU tests: the installed wheel on this machine's GPU. ``--record FILE`` writes what was run and measured as JSON.

``--append`` adds to what FILE says of other tests of the same sources: `nox -s gpu_tests` runs most tests at once, and
those marked ``alone`` after them.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for exact.py

MEASURED = "measured"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gpu tests")
    group.addoption("--record", type=Path, help="write results and measured errors to this JSON file")
    group.addoption("--append", action="store_true", help="keep what the file of --record says of other tests")
    group.addoption("--comfyui", type=Path, help="ComfyUI's comfy/ldm/modules/attention.py, to test it as a client")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--record", None)
    if path is not None and not hasattr(config, "workerinput"):  # pytest-xdist's workers report to the first process
        config.pluginmanager.register(Recorder(path, append=config.getoption("--append")))


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


class Recorder:
    """Collects the reports of all tests, wherever they ran, and writes the file at the end."""

    def __init__(self, path: Path, *, append: bool) -> None:
        self.path = path
        self.before = json.loads(path.read_text("utf-8")) if append and path.is_file() else None
        self.outcomes: dict[str, str] = {}
        self.measured: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid.partition("tests/gpu/")[2]] = report.outcome
        properties: list[tuple[str, Any]] = report.user_properties
        self.measured.update(value for name, value in properties if name == MEASURED)

    def pytest_sessionfinish(self) -> None:
        counts = Counter(self.outcomes.values())
        found = {
            **provenance(),
            "counts": dict(counts),
            "not_passed": {name: outcome for name, outcome in self.outcomes.items() if outcome != "passed"},
            "measured": {name: float(f"{value:.4g}") for name, value in self.measured.items()},
        }
        if self.before is not None and self.before["source_digest"] == found["source_digest"]:
            found["counts"] = dict(counts + Counter(self.before["counts"]))
            for part in ("not_passed", "measured"):
                found[part] = {**self.before[part], **found[part]}
        self.path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def provenance() -> dict[str, Any]:
    """What was tested, where and when."""
    import torch

    from sageattention import _machine, _record

    record = _record.read()
    return {
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "source_digest": record.source_digest if record else "",
        "wheel": {"version": record.version, "build_tag": record.build_tag, "archs": record.archs} if record else {},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "driver": _machine.probe().driver,
        "torch": torch.__version__,
    }


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], float]:
    """Keep a number for ``--record``, and hand it back."""

    def keep(name: str, value: float) -> float:
        request.node.user_properties.append((MEASURED, (name, value)))
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

    from sageattention import _device, _dispatch

    arch = _dispatch.arch_for(torch.cuda.get_device_capability(), _device.RECORD.archs)
    names = _device.RECORD.instances.get(str(arch), ())
    assert sage
    return frozenset(path for path in _dispatch.PATHS if _dispatch.kernel(path, "f16", 64, "fp32", False) in names)
