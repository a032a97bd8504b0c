"""How long an index of many wheels takes: reading and hashing them, rendering every page, writing the site.

    python bench/index_speed.py --wheels 2000 --json bench/results/index_speed.json

The wheels have the names and metadata of real cells and no native files, so hashing (once, at the disk's speed) is what
this does not show. They are spread over as many channels as there are torch releases and CUDA versions in the matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.publish.fake_dist import cells_of, write_wheel  # noqa: E402 - below this project's root


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheels", type=int, default=2000)
    parser.add_argument("--allowed", type=float, default=10.0, help="seconds (default: 10)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        channels = fill(folder / "dist", args.wheels)
        argv: list[str | Path] = [sys.executable, "-m", "buildtool", "index", folder / "dist", "--out", folder / "site"]
        before, started = os.times(), time.perf_counter()
        subprocess.run(argv, cwd=ROOT, check=True)
        seconds, after = time.perf_counter() - started, os.times()  # fields 2 and 3: CPU time of child processes
        files = sum(len(names) for _, _, names in os.walk(folder / "site"))
    result = {
        "wheels": args.wheels,
        "channels": channels,
        "files": files,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 2
        ),
        "cores": os.cpu_count(),
        "allowed": args.allowed,
    }
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0 if seconds < args.allowed else 1


def fill(dist: Path, wanted: int) -> int:
    """Wheels of all cells of the matrix, then of further patch releases of their torch; returns how many channels."""
    cells = cells_of(ROOT, "set=all")
    for number in range(wanted):
        cell, patch = cells[number % len(cells)], number // len(cells)
        torch = f"{cell.combo.torch.rpartition('.')[0]}.{patch}"
        tag = f"{torch.replace('.', '')}.{cell.combo.cuda.replace('.', '')}"
        write_wheel(
            replace(
                cell,
                combo=replace(cell.combo, torch=torch),
                build_tag=tag,
                wheel=cell.wheel.replace(f"-{cell.build_tag}-", f"-{tag}-"),
            ),
            dist,
        )
    return len({(cell.combo.torch, cell.combo.cuda) for cell in cells})


if __name__ == "__main__":
    sys.exit(main())
