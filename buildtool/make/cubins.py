"""Device code: instances × architectures → cubins, each compiled once and kept under the digest of its inputs."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from buildtool.make import nvrtc
from buildtool.make.runner import Runner
from buildtool.make.sources import Closure, closure
from buildtool.make.store import Store, digest
from buildtool.plan.instances import Instance

KIND = "cubin"
INCLUDE_FOLDERS = ("include",)
"""Where kernels look for headers, below ``kernels/``."""
_RECIPE = 1
_BASE_OPTIONS = ("--std=c++17", "-Iinclude", "--ptxas-options=-v")

_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_CHATTER = re.compile(r"^ptxas (info|  ).*$\n?", re.MULTILINE)


@dataclass(frozen=True)
class Resources:
    """What one kernel takes, as ptxas reports it: registers a thread, and bytes."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def in_registers(self) -> bool:
        """Whether nothing was spilled and no array lies in local memory."""
        return not (self.stack or self.spill_stores or self.spill_loads)

    @classmethod
    def parse(cls, log: str) -> Resources:
        """Read the report of ``ptxas -v`` for one entry."""
        frame, used, shared = _FRAME.search(log), _USED.search(log), _SHARED.search(log)
        stack, stores, loads = (int(v) for v in frame.groups()) if frame else (0, 0, 0)
        return cls(int(used[1]) if used else 0, stack, stores, loads, int(shared[1]) if shared else 0)


@dataclass(frozen=True)
class Target:
    """One cubin to be: an instance for an architecture, with the compiler that makes it."""

    instance: Instance
    arch: str
    library: nvrtc.Library
    lineinfo: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        defines = (f"-D{name}={value}" for name, value in self.instance.defines)
        return (
            f"--gpu-architecture={self.arch}",
            *_BASE_OPTIONS,
            *defines,
            *(("-lineinfo",) if self.lineinfo else ()),
        )


@dataclass(frozen=True)
class Cubin:
    """A compiled kernel in the store."""

    target: Target
    path: Path
    resources: Resources
    cpu: float
    """Seconds its compilation took, whenever that was."""
    cached: bool

    def __str__(self) -> str:
        r = self.resources
        return f"{self.target.instance.name} on {self.target.arch} ({r.stack} bytes, {r.spill_stores} of them spilled)"


def key(target: Target, files: Closure) -> str:
    """Everything the cubin's bytes depend on."""
    return digest(
        {
            "recipe": _RECIPE,
            "compiler": target.library.pin,
            "options": target.options,
            "source": target.instance.source,
            "files": files.files,
        }
    )


def keys(wanted: Iterable[tuple[Instance, str, str]], kernels: Path, *, lineinfo: bool = False) -> list[str]:
    """The keys of (instance, architecture, pin of the compiler) triples."""
    closures: dict[str, Closure] = {}
    result = []
    for instance, arch, pin in wanted:
        if instance.source not in closures:
            closures[instance.source] = closure(kernels, instance.source, INCLUDE_FOLDERS)
        library = nvrtc.Library(Path(), Path(), pin)
        result.append(key(Target(instance, arch, library, lineinfo), closures[instance.source]))
    return result


def make(
    targets: Iterable[Target],
    *,
    kernels: Path,
    store: Store,
    runner: Runner,
    count: int,
    report: Callable[[nvrtc.Outcome | Cubin], None] = lambda _: None,
) -> tuple[dict[Target, Cubin], dict[Target, nvrtc.Outcome]]:
    """Have every target's cubin: from the store, or compiled now, ``count`` at a time.

    ``kernels`` must not change meanwhile (builds pass a snapshot). Returns the cubins, and the outcomes of the targets
    that the compiler refused.
    """
    closures: dict[str, Closure] = {}
    made: dict[Target, Cubin] = {}
    failed: dict[Target, nvrtc.Outcome] = {}
    missing: dict[nvrtc.Job, tuple[Target, str]] = {}
    for target in targets:
        source = target.instance.source
        if source not in closures:
            closures[source] = closure(kernels, source, INCLUDE_FOLDERS)
        entry_key = key(target, closures[source])
        folder = store.get(KIND, entry_key)
        if folder is not None:
            made[target] = _load(target, folder, cached=True)
            report(made[target])
            continue
        job = nvrtc.Job(target.instance.name, target.arch, target.library, source, target.options)
        missing[job] = (target, entry_key)
    if not missing:
        return made, failed
    lock = threading.Lock()

    def publish(outcome: nvrtc.Outcome) -> None:
        target, entry_key = missing[outcome.job]
        if outcome.cubin is None:
            with lock:
                failed[target] = outcome
        else:
            cubin = outcome.cubin
            resources = Resources.parse(outcome.log)

            def fill(folder: Path) -> None:
                shutil.move(cubin, folder / "kernel.cubin")
                facts = {"resources": asdict(resources), "cpu": outcome.cpu, "log": _CHATTER.sub("", outcome.log)}
                (folder / "facts.json").write_text(json.dumps(facts, sort_keys=True))

            folder = store.put(KIND, entry_key, fill)
            with lock:
                made[target] = _load(target, folder, cached=False)
        report(outcome)

    with store.scratch() as scratch:
        outcomes = nvrtc.compile_all(missing, folder=kernels, scratch=scratch, runner=runner, count=count, done=publish)
        for _ in outcomes:
            pass
    return made, failed


def _load(target: Target, folder: Path, *, cached: bool) -> Cubin:
    facts = json.loads((folder / "facts.json").read_bytes())
    return Cubin(target, folder / "kernel.cubin", Resources(**facts["resources"]), float(facts["cpu"]), cached)


def archive(members: Mapping[str, bytes]) -> bytes:
    """A Unix ar archive: members in name order, GNU long names, zero times and owners, mode 0644.

    The format is common to System V and GNU ar: 60-byte headers, members padded to even offsets, names of more than 15
    characters in the ``//`` member as ``/offset``.
    """
    names = sorted(members)
    table = b""
    headers: dict[str, bytes] = {}
    for name in names:
        encoded = name.encode("ascii")
        if len(encoded) < 16:  # noqa: PLR2004 - the width of ar_name
            headers[name] = encoded + b"/"
        else:
            headers[name] = b"/%d" % len(table)
            table += encoded + b"/\n"
    parts = [b"!<arch>\n"]
    if table:
        parts += [_ar_header(b"//", len(table), dated=False), table, b"\n" * (len(table) % 2)]
    for name in names:
        data = members[name]
        parts += [_ar_header(headers[name], len(data)), data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def _ar_header(name: bytes, size: int, *, dated: bool = True) -> bytes:
    fields = (b"0", b"0", b"0", b"644") if dated else (b"", b"", b"", b"")
    return b"%-16s%-12s%-6s%-6s%-8s%-10d`\n" % (name, *fields, size)
