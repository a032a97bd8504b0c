"""What the whole matrix costs on this machine: every cell from empty caches, again, one more Python, and 64-bit Arm.

``python bench/build_all.py --folder DIR [--write bench/results/build_all.json] [SELECTION ...]``. Runs the real builder
with a build cache and an output folder below DIR, which are kept: after an error, run it again and it goes on. uv
keeps nothing, so every torch is downloaded in the measured time. Memory is the sum of the resident sets of the builder
and all programs it runs, read twice a second, so shared pages count more than once;
bytes received are the whole machine's.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from buildtool.make.stage import snapshot_kernels, source_digest  # noqa: E402 - from this checkout

PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def tree_memory(root: int) -> int:
    """Resident bytes of a process and its descendants, whatever sessions they started."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended meanwhile
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for pid in family:
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
        except OSError:
            continue
    return total


def received() -> int:
    """Bytes that this machine's network interfaces have received, the loopback left out."""
    rows = (line.split(":") for line in Path("/proc/net/dev").read_text().splitlines()[2:])
    return sum(int(numbers.split()[0]) for name, numbers in rows if name.strip() != "lo")


def condensed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The parts of a manifest that are results."""
    columns = ("wheel", "status", "size", "verified", "import", "problem", "cpu")
    cells = [[row[column] for column in columns] for row in manifest["cells"]]
    kept = {key: manifest[key] for key in ("totals", "counts", "stages", "parts")}
    return {**kept, "columns": columns, "cells": cells}


def run(title: str, words: tuple[str, ...], out: Path, env: dict[str, str]) -> dict[str, Any]:
    """One build with everything that was measured of it, and what its manifest says."""
    argv = [sys.executable, "-m", "buildtool", "build", *words, "--out", str(out), "--json"]
    log = out.with_suffix(f".{title.replace(' ', '-')}.log")
    cpu, began, bytes_before = cpu_of_children(), time.monotonic(), received()
    peak = 0
    with log.open("w") as errors:
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
        ended = threading.Event()

        def sample() -> None:
            nonlocal peak
            while not ended.wait(0.5):
                peak = max(peak, tree_memory(process.pid))

        watcher = threading.Thread(target=sample)
        watcher.start()
        output, _ = process.communicate()
        ended.set()
        watcher.join()
    if not output:
        sys.exit(f"{' '.join(argv)} ended with {process.returncode}; its messages are in {log}")
    measured = {
        "step": title,
        "selection": " ".join(words),
        "exit": process.returncode,
        "wall": round(time.monotonic() - began, 1),
        "cpu": round(cpu_of_children() - cpu, 1),
        "peak_bytes": peak,
        "received_bytes": received() - bytes_before,
        **condensed(json.loads(output)),
    }
    counts = measured["counts"]
    print(
        f"{title:<12} {measured['wall']:8.1f} s {measured['cpu']:8.1f} CPU-s {peak / 1e9:5.2f} GB  {counts}", flush=True
    )
    return measured


def spelled(result: dict[str, Any]) -> str:
    """The result as JSON with a line for each wheel."""
    text = json.dumps(result, indent=1)
    return re.sub(r"\[\n\s+(\"[^\]]*?)\n\s+\]", lambda row: "[" + re.sub(r"\n\s+", " ", row[1]) + "]", text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the caches and the wheels go")
    parser.add_argument("--write", type=Path, help="write the result as JSON to this file")
    parser.add_argument("--steps", default="cold,again,python,arm", help="which of these steps, by commas")
    parser.add_argument("selection", nargs="*", default=["set=all", "platform=linux_x86_64"])
    args = parser.parse_args()
    folder = args.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "BUILDTOOL_CACHE": str(folder / "cache"), "UV_NO_CACHE": "1"}
    words = tuple(args.selection)
    steps = {
        "cold": ("cold", words, folder / "dist"),
        "again": ("again", words, folder / "dist"),
        # All parts are there, no wheel of this Python is: what adding a Python to the matrix costs.
        "python": ("one Python", (*words, "python=3.12", "torch=2.8"), folder / "dist-python"),
        "arm": ("arm", ("set=aarch64", "platform=linux_aarch64"), folder / "dist-arm"),
    }
    compiler = subprocess.run(["g++", "-dumpfullversion"], stdout=subprocess.PIPE, text=True, check=True)
    with tempfile.TemporaryDirectory() as scratch:
        digest = source_digest(snapshot_kernels(ROOT, Path(scratch)), ROOT, "sageattention")
    result: dict[str, Any] = {
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "source_digest": digest,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * PAGE,
            "machine": platform.machine(),
            "system": platform.platform(),
            "load_before": [round(value, 1) for value in os.getloadavg()],
        },
        "versions": {"python": platform.python_version(), "uv": version("uv"), "g++": compiler.stdout.strip()},
        "steps": [],
    }
    for name in args.steps.split(","):
        result["steps"].append(run(*steps[name], env))
        if args.write:
            args.write.write_text(spelled(result))


if __name__ == "__main__":
    main()
