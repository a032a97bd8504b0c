"""What this machine has, whether this wheel fits it, and what an error text means. Nothing here imports PyTorch.

PyTorch is looked at by its metadata, and by a child process whose crash is only one more finding.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Dict, List, Optional, Tuple

from sageattention import _causes, _machine, _record

_TIMEOUT_S = 120
_LOOK_AT_TORCH = (
    "import json, torch; print(json.dumps({'version': torch.__version__, 'cuda': torch.version.cuda, "
    "'gpus': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] "
    "if torch.cuda.is_available() else []}))"
)
_IMPORT = "import sageattention; print(sageattention.__version__)"


@dataclass(frozen=True)
class Report:
    """Facts about the machine, then what follows from them."""

    python: str
    platform: str
    libc: str
    torch: Optional[str]
    torch_cuda: Optional[str]
    torch_error: str
    triton: Optional[str]
    driver: str
    gpus: List[Dict[str, Any]]
    wheel: Optional[Dict[str, Any]]
    problem: Optional[str]
    """Why the wheel cannot work here and which one would, or None if it fits."""
    notes: List[str]
    import_error: str
    """What ``import sageattention`` printed last in a child process; empty where it worked."""

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True)


def examine(run_imports: bool = True) -> Report:
    """Look at this machine. ``run_imports`` has a child process import torch, and one import this package."""
    machine = _machine.probe()
    torch_version, torch_cuda, torch_error = _torch(run_imports)
    problem: Optional[str]
    try:
        record = _record.read()
        problem = _record.misfit(record, torch_version, torch_cuda, machine)
    except ValueError as error:
        record, problem = None, f"{error}; reinstall the wheel"
    import_error = ""
    if run_imports and problem is None:
        import_error = _run(_IMPORT)[1]
    return Report(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        libc=" ".join(platform.libc_ver()).strip(),
        torch=torch_version,
        torch_cuda=torch_cuda,
        torch_error=torch_error,
        triton=_installed("triton") or _installed("triton-windows"),
        driver=machine.driver,
        gpus=[{"name": gpu.name, "capability": "{}.{}".format(*gpu.capability)} for gpu in machine.gpus],
        wheel=None if record is None else _summary(record),
        problem=problem,
        notes=[] if record is None else _record.notes(record, torch_cuda, machine),
        import_error=import_error,
    )


def explain(text: str) -> Dict[str, str]:
    """Cause and cure of a pasted error text, as ``{"code", "cause", "cure"}``; code is ``unknown`` if none is known."""
    found = _causes.find(text)
    if found is None:
        return {
            "code": "unknown",
            "cause": "this text matches no known cause",
            "cure": "report it with the output of `python -m sageattention doctor --json`",
        }
    return {"code": found.code, "cause": found.cause, "cure": found.cure}


def _summary(record: _record.Record) -> Dict[str, Any]:
    return {
        "distribution": record.distribution,
        "version": record.version,
        "build_tag": record.build_tag,
        "torch": record.torch,
        "cuda": record.cuda,
        "python": record.python,
        "platform": record.platform,
        "archs": list(record.archs),
        "min_driver": record.min_driver,
        "kernels": {arch: len(names) for arch, names in record.instances.items()},
        "source_digest": record.source_digest,
    }


def _installed(name: str) -> Optional[str]:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch(run_import: bool) -> Tuple[Optional[str], Optional[str], str]:
    """Version, CUDA version (None: a build without), and how its import failed (empty: it did not)."""
    version = _installed("torch")
    if version is None:
        return None, None, ""
    if run_import:
        output, error = _run(_LOOK_AT_TORCH)
        if not error:
            found = json.loads(output)
            return str(found["version"]), found["cuda"], ""
    else:
        error = ""
    # A local version names the build: 2.8.0+cu128, 2.8.0+cpu. PyPI's has none and is a CUDA build on Linux alone.
    local = version.partition("+")[2]
    if local.startswith("cu") and local[2:].isdigit():
        return version, f"{local[2:-1]}.{local[-1]}", error
    return version, None if local or platform.system() != "Linux" else "of PyPI", error


def _run(code: str) -> Tuple[str, str]:
    """Run Python code in a child. Returns its output's last line and, if it failed, its error's last line."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {_TIMEOUT_S} s"
    if done.returncode == 0:
        return done.stdout.strip().splitlines()[-1], ""
    lines = done.stderr.strip().splitlines()
    return "", lines[-1] if lines else f"the process died with exit code {done.returncode}"
