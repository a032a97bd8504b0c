"""Which wheel fits a machine, which command installs it, and if none does, why not and what is nearest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from buildtool.errors import UsageError
from buildtool.plan.cells import Cell
from buildtool.plan.tags import minor_of, version_key
from buildtool.prove.package import Cause
from buildtool.publish.dist import channel_of
from buildtool.publish.page import system_of

_PROCESSORS = {"AMD64": "x86_64", "arm64": "aarch64", "ARM64": "aarch64"}


@dataclass(frozen=True)
class Offer:
    """One wheel that could be installed."""

    wheel: str
    package: str
    torch: str
    """Minor release."""
    cuda: str
    python: str
    system: str
    archs: tuple[str, ...]
    min_driver: str
    channel: str


@dataclass(frozen=True)
class Machine:
    """What a doctor's report says of a machine. ``cuda`` is empty where torch has none or does not say."""

    python: str
    system: str
    torch: str
    """Minor release; empty where torch is not installed."""
    cuda: str
    cpu_torch: bool
    driver: str
    gpus: tuple[tuple[str, tuple[int, int]], ...]
    """(name, compute capability)"""


@dataclass(frozen=True)
class Advice:
    """The wheel and the commands, or why there is none."""

    wheel: str
    commands: tuple[str, ...]
    reasons: tuple[str, ...]
    """Why no wheel fits, or what is worth knowing about the one that does."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def offer_of_cell(cell: Cell) -> Offer:
    """The wheel of a cell of the matrix."""
    combo = cell.combo
    return Offer(cell.wheel, combo.package, minor_of(combo.torch), combo.cuda, combo.python, system_of(combo.platform),
                 cell.archs, cell.min_driver, channel_of(combo.cuda, combo.torch))  # fmt: skip


def offers_of_manifest(manifest: Mapping[str, Any]) -> tuple[Offer, ...]:
    """The wheels of a published ``wheels.json``. Raises UsageError for anything else."""
    try:
        return tuple(
            Offer(row["name"], row["package"], minor_of(plan["torch"]), plan["cuda"], plan["python"],
                  system_of(plan["platform"]), tuple(plan["archs"]), plan["min_driver"], row["channel"])
            for row in manifest["wheels"] for plan in [row["plan"]]
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"not the manifest of an index: {error!r}", "give the wheels.json that is served") from error


def read_machine(report: Mapping[str, Any]) -> Machine:
    """A report of ``python -m sageattention doctor --json``. Raises UsageError for anything else."""
    try:
        system, _, processor = str(report["platform"]).partition(" ")
        torch = report["torch"]
        cuda = report["torch_cuda"]
        return Machine(
            python=".".join(str(report["python"]).split(".")[:2]),
            system=f"{system} {_PROCESSORS.get(processor, processor)}",
            torch=minor_of(str(torch).partition("+")[0]) if torch else "",
            cuda=str(cuda) if cuda and re.fullmatch(r"\d+\.\d+", str(cuda)) else "",
            cpu_torch=bool(torch) and cuda is None,
            driver=str(report.get("driver") or ""),
            gpus=tuple((str(gpu["name"]), _capability(str(gpu["capability"]))) for gpu in report.get("gpus", ())),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(
            f"not a doctor's report: {error!r}", "make one with `python -m sageattention doctor --json`"
        ) from error


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def advise(machine: Machine, offers: Sequence[Offer], package: str, dispatch: Any, site: str = "<site>") -> Advice:
    """The best of ``offers`` for a machine.

    ``dispatch`` is the package's dispatch table (``arch_for``, ``remedy``, ``version``); ``site`` the address of the
    index. Preferred is the CUDA version of the installed torch, then the highest that the driver runs.
    """
    mine = [offer for offer in offers if offer.package == package]
    if not machine.torch:
        return Advice("", (), ("PyTorch is not installed; install the torch you want first, then ask again",))
    if machine.cpu_torch:
        return Advice("", (), (f"torch {machine.torch} here is a build without CUDA; install a CUDA build of it",))
    fitting = [o for o in mine if (o.torch, o.python, o.system) == (machine.torch, machine.python, machine.system)]
    if not fitting:
        return Advice("", (), tuple(_why_none(machine, mine, package)))
    runnable = [o for o in fitting if _driver_runs(machine, o, dispatch)]
    if not runnable:
        lowest = min((o.min_driver for o in fitting), key=dispatch.version)
        return Advice(
            "", (), (f"driver {machine.driver} is older than {lowest}, which the oldest wheel needs; update it",)
        )
    able = [o for o in runnable if _has_code(machine, o, dispatch)]
    if not able:
        name, capability = machine.gpus[0]
        have = ", ".join(sorted({arch for o in runnable for arch in o.archs}))
        lacking = f"no wheel for torch {machine.torch} has code for {name} (they have {have})"
        return Advice("", (), (f"{lacking}; {dispatch.remedy(capability)}",))
    best = max(able, key=lambda o: (o.cuda == machine.cuda, version_key(o.cuda)))
    notes = []
    if machine.cuda and best.cuda != machine.cuda:
        notes.append(
            f"torch here is built for CUDA {machine.cuda}, the wheel's kernels by CUDA {best.cuda}: that works"
        )
    if not machine.gpus:
        notes.append("no NVIDIA GPU is visible here; the wheel imports, and its functions need one")
    index = f"{site.rstrip('/')}/{best.channel}/"
    commands = (f"pip install {package} --index-url {index}", f"uv pip install {package} --default-index {index}")
    return Advice(best.wheel, commands, tuple(notes))


def _driver_runs(machine: Machine, offer: Offer, dispatch: Any) -> bool:
    return not machine.driver or bool(dispatch.version(machine.driver) >= dispatch.version(offer.min_driver))


def _has_code(machine: Machine, offer: Offer, dispatch: Any) -> bool:
    return not machine.gpus or any(dispatch.arch_for(capability, offer.archs) for _, capability in machine.gpus)


def _why_none(machine: Machine, offers: Sequence[Offer], package: str) -> Iterable[str]:
    """One reason per thing that stands in the way, each with what there is instead."""
    here = [offer for offer in offers if offer.system == machine.system]
    if not here:
        systems = ", ".join(sorted({offer.system for offer in offers})) or "none"
        yield f"there is no wheel of {package} for {machine.system}; there are wheels for {systems}"
        return
    with_torch = [offer for offer in here if offer.torch == machine.torch]
    if not with_torch:
        torches = sorted({offer.torch for offer in here}, key=version_key)
        nearest = min(torches, key=lambda t: (abs(version_key(t)[1] - version_key(machine.torch)[1]), t))
        yield (
            f"there is no wheel of {package} for torch {machine.torch}; there are for {', '.join(torches)}, "
            f"and torch {nearest} is nearest"
        )
    pythons = sorted({offer.python for offer in with_torch or here}, key=version_key)
    if machine.python not in pythons:
        yield f"there is no wheel for Python {machine.python}; there are for {', '.join(pythons)}"


def explain(text: str, causes: Iterable[Cause]) -> Cause | None:
    """The first cause whose pattern occurs in an error text."""
    return next((row for row in causes if re.search(row.pattern, text, re.IGNORECASE | re.DOTALL)), None)
