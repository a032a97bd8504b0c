"""Runs every example on this machine's GPU with the installed wheel, each in a process of its own.

    python bench/examples.py --json bench/results/examples-h200.json

An example whose client is not installed is left out, and the record says why. Exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[1] / "example"
PYTHON_EXAMPLES = {"swap_sdpa": "torch", "diffusers_backend": "diffusers"}
"""Module → the client that it needs."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    args = parser.parse_args()
    rows = {name: run_module(name, client) for name, client in PYTHON_EXAMPLES.items()}
    rows["comfyui"] = run_comfyui(os.environ.get("COMFYUI", ""))
    for name, row in rows.items():
        print(f"{name:18} {row['outcome']:8} {row.get('what') or row.get('why', '')}")
        if "error" in row:
            print(f"{'':27} relative L1 difference from SDPA {row['error']:.4f} (allowed {row['allowed']})")
    if args.json:
        args.json.write_text(json.dumps({**machine(), "examples": rows}, indent=1, sort_keys=True) + "\n", "utf-8")
    return 1 if any(row["outcome"] == "failed" for row in rows.values()) else 0


def run_module(name: str, client: str) -> dict[str, Any]:
    """What `measure()` of an example returns. The folder of the examples, not this checkout, is on the child's path."""
    if importlib.util.find_spec(client) is None:
        return {"outcome": "left out", "why": f"{client} is not installed"}
    code = f"import json, {name}; print(json.dumps({name}.measure()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"outcome": "failed", "why": last_line(done.stderr)}
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"outcome": "passed" if seen["error"] <= seen["allowed"] else "failed", **seen}


def run_comfyui(checkout: str) -> dict[str, Any]:
    """The launch script with ComfyUI's switch to end once everything is loaded."""
    if not checkout:
        return {"outcome": "left out", "why": "COMFYUI does not name a checkout"}
    argv = ["sh", str(EXAMPLES / "comfyui.sh"), "--quick-test-for-ci"]
    env = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(argv, cwd=EXAMPLES, env=env, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    used = "Using sage attention" in output
    if done.returncode or not used:
        return {"outcome": "failed", "why": last_line(output) if done.returncode else "the log names no sage attention"}
    return {"outcome": "passed", "what": next(line for line in output.splitlines() if "L1 difference" in line)}


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "no message"


def machine() -> dict[str, Any]:
    """What ran: the GPU, the wheel, the clients."""
    import torch  # noqa: PLC0415 - the help works without

    from sageattention import _machine, _record  # noqa: PLC0415 - the installed package

    record = _record.read()
    versions = {name: version(name) for name in ("torch", "triton", "diffusers", "transformers")}
    return {
        "taken": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name(),
        "driver": _machine.probe().driver,
        "versions": versions,
        "wheel": {"version": record.version, "build_tag": record.build_tag} if record else {},
        "source_digest": record.source_digest if record else "",
    }


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
