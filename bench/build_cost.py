"""What building costs: CPU and wall seconds by stage for a cold cell, the same again, the next torch, the next Python.

``python bench/build_cost.py [--write bench/results/build_cost.json]``. Runs the real builder with an empty build cache
of its own. Downloads come from uv's cache unless ``--cold-downloads`` gives uv an empty one, too. CPU seconds are those
of the builder and every program it ran; "install" is uv unpacking torch, NVRTC and the headers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    ("cold cell", ("torch=2.8", "cuda=12.8", "python=3.12")),
    ("same cell again", ("torch=2.8", "cuda=12.8", "python=3.12")),
    ("next torch", ("torch=2.9", "cuda=12.8", "python=3.12")),
    ("next Python", ("torch=2.8", "cuda=12.8", "python=3.11")),
)


def children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(words: tuple[str, ...], package: str, env: dict[str, str], out: Path) -> dict[str, Any]:
    """One build; returns its JSON with the total CPU and wall seconds."""
    cpu, wall = children(), time.monotonic()
    argv = [sys.executable, "-m", "buildtool", "build", *words, f"package={package}", "--out", str(out), "--json", "-q"]
    result = subprocess.run(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed with {result.returncode}")
    document: dict[str, Any] = json.loads(result.stdout)
    document["cpu"], document["wall"] = round(children() - cpu, 1), round(time.monotonic() - wall, 1)
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="write the result as JSON to this file")
    parser.add_argument("--package", default="sageattention")
    parser.add_argument("--cold-downloads", action="store_true", help="let uv download everything again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="build-cost-") as name:
        env = {**os.environ, "BUILDTOOL_CACHE": f"{name}/cache"}
        if args.cold_downloads:
            env["UV_CACHE_DIR"] = f"{name}/uv"
        rows = []
        for title, words in STEPS:
            document = run(words, args.package, env, Path(name, "dist"))
            counts, stages = document["counts"], document["stages"]
            rows.append(
                {"step": title, "selection": " ".join(words), **{k: document[k] for k in ("cpu", "wall")}}
                | {"counts": counts, "stages": stages}
            )
            print(f"{title:<16} {document['cpu']:7.1f} CPU-s {document['wall']:7.1f} s wall   {counts}")
            for stage, spent in stages.items():
                print(f"    {stage:<12} {spent['cpu']:7.1f} CPU-s {spent['wall']:7.1f} s wall")
    machine = {"cores": len(os.sched_getaffinity(0)), "machine": platform.machine(), "system": platform.platform()}
    load = {"load": [round(value, 1) for value in os.getloadavg()]}  # what else ran: wall times depend on it
    result = {
        "machine": machine | load,
        "downloads": "cold" if args.cold_downloads else "from uv's cache",
        "steps": rows,
    }
    if args.write:
        args.write.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
