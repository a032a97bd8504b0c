"""A newcomer's way to a working import, timed: an index on loopback, a new environment with torch, one command.

    python bench/newcomer.py dist --json bench/results/newcomer.json

The command is the one that the selector page shows, followed by the import. torch is that of the interpreter that runs
this (named with --python), lent to the new environment by a .pth file: installing torch is the user's own first step.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from buildtool.publish.selftest import serve  # noqa: E402 - below this project's root

FACTS = (
    "import json, platform, torch; print(json.dumps({'torch': torch.__version__, 'python': platform.python_version(), "
    "'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else ''}))"
)
CALL = (
    "import torch, sageattention; q = torch.randn(1, 8, 1024, 128, device='cuda', dtype=torch.float16); "
    "sageattention.sageattn(q, q, q); torch.cuda.synchronize()"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path, help="folder of verified wheels")
    parser.add_argument("--channel", default="cu130/torch2.11", help="the channel of the torch that is lent")
    parser.add_argument("--python", default=sys.executable, help="interpreter whose torch is lent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result here")
    args = parser.parse_args()
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith(("PIP_", "UV_"))}
    clean["PIP_CONFIG_FILE"] = os.devnull  # no mirror of this machine beside the index
    result: dict[str, Any] = {"taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "channel": args.channel}
    with tempfile.TemporaryDirectory() as name:
        site, env = Path(name) / "site", Path(name) / "env"
        index = [sys.executable, "-m", "buildtool", "index", str(args.dist.absolute()), "--out", str(site)]
        result["index_seconds"] = timed(index, dict(os.environ), ROOT)
        python = environment(args.python, env, clean)
        with serve(site) as address:
            url = f"{address}/{args.channel}/"
            pip = [args.python, "-m", "pip", "--python", str(python), "install", "--no-cache-dir"]
            install = shlex.join([*pip, "sageattention", "--index-url", url])
            result["seconds"] = timed(
                ["sh", "-c", f"{install} && {python} -c 'import sageattention'"], clean, Path(name)
            )
        facts = subprocess.run([python, "-c", FACTS], cwd=name, env=clean, capture_output=True, text=True, check=True)
        result |= json.loads(facts.stdout.splitlines()[-1])
        result["import_seconds"] = timed([str(python), "-c", "import sageattention"], clean, Path(name))
        if result["gpu"]:
            result["import_and_call_seconds"] = timed([str(python), "-c", CALL], clean, Path(name))
    print(json.dumps(result, indent=1))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


def environment(lender: str, folder: Path, env: dict[str, str]) -> Path:
    """A new environment that finds the lender's packages behind its own; returns its interpreter."""
    subprocess.run([lender, "-m", "venv", "--without-pip", folder], env=env, check=True)
    listing = "import sys; print(*(p for p in sys.path if p.endswith('-packages')), sep='\\n')"
    lent = subprocess.run([lender, "-c", listing], env=env, capture_output=True, text=True, check=True)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "lent.pth").write_text(lent.stdout, "utf-8")
    return folder / "bin/python"


def timed(argv: list[str], env: dict[str, str], cwd: Path) -> float:
    """Seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run(argv, env=env, cwd=cwd, check=True)
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    sys.exit(main())
