"""The operators of the binding on stand-ins of torch's tensors and of the driver, as a program that tests talk to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from buildtool.plan.instances import Instance, for_arch, parse_instances

STAND_INS = Path(__file__).with_name("stand_ins")


@dataclass
class Outcome:
    """What one call of an operator did."""

    launches: list[dict[str, Any]] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""
    allocated: dict[int, int] = field(default_factory=dict)
    actions: list[dict[str, int]] = field(default_factory=list)

    @property
    def kernels(self) -> list[str]:
        return [launch["kernel"] for launch in self.launches]


class Probe:
    """The compiled binding on a GPU of one compute capability."""

    def __init__(self, program: Path, cubins: Path, capability: str, more: Mapping[str, str] | None = None) -> None:
        environment = {**os.environ, "CAPABILITY": capability, "LD_LIBRARY_PATH": str(program.parent), **(more or {})}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program, cubins], stdin=pipe, stdout=pipe, env=environment, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=60)

    def __call__(self, operator: str, **words: str | float) -> Outcome:
        assert self.process.stdin
        assert self.process.stdout
        named = (f"{key.replace('__', '.')}={value}" for key, value in words.items())
        self.process.stdin.write(" ".join([operator, *named]) + "\n")
        self.process.stdin.flush()
        outcome = Outcome()
        for line in self.process.stdout:
            said = json.loads(line)
            if "kernel" in said:
                outcome.launches.append(said)
            elif "map" in said:
                outcome.maps.append(said)
            else:
                outcome.error, outcome.actions = said["error"], said["actions"]
                outcome.allocated = {int(address): size for address, size in said["allocated"].items()}
                return outcome
        raise AssertionError(f"the probe ended at: {operator} {words}")


def compile_program(root: Path, folder: Path) -> Path:
    """Compile the operators, and the driver beside them."""
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{STAND_INS}"]
    driver = ["-shared", "-fPIC", str(STAND_INS / "driver.cpp"), "-o", str(folder / "libcuda.so.1"), "-ldl"]
    kernels = [f"-I{root / 'kernels'}", f"-I{root / 'kernels/include'}"]
    calls = [*kernels, str(STAND_INS / "calls.cpp"), "-o", str(folder / "calls"), "-ldl"]
    for command in (driver, calls):
        subprocess.run(["g++", *options, *command], check=True)
    return folder / "calls"


def instances(root: Path, arch: str) -> dict[str, Instance]:
    """The kernels of a wheel for CUDA 13.0, by name."""
    known = parse_instances((root / "kernels" / "instances.toml").read_text("utf-8"))
    return {i.name: i for i in for_arch(known, "sageattention", arch, "13.0")}


def make_archives(root: Path, folder: Path) -> None:
    """Archives of cubins with the names of a wheel's kernels, all empty."""
    for arch in ("sm_80", "sm_90a"):
        names = [f"{name}.cubin" for name in instances(root, arch)]
        for name in names:
            (folder / name).write_bytes(b"")
        subprocess.run(["ar", "rcD", f"{arch}.ar", *names], cwd=folder, check=True)
