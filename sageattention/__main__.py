"""``python -m sageattention``: what this wheel is, what the machine has, and whether they fit.

``python -m sageattention doctor [--why TEXT]`` adds what an error text means (``-`` reads it from standard input, and
``--why`` may be left out); ``--json`` prints either as JSON. The exit code is 0 if the wheel fits, 1 if not, 2 for a
wrong command line.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import List, Optional

from sageattention import _doctor


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m sageattention", description="What this wheel is, and whether it fits."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command")
    doctor = commands.add_parser("doctor", help="examine the machine; explain an error text")
    doctor.add_argument("text", nargs="*", help="the error text, or - to read it from standard input")
    doctor.add_argument("--why", default="", metavar="TEXT", help="the same")
    doctor.add_argument("--json", action="store_true", dest="doctor_json", help="print JSON")
    chosen = parser.parse_args(arguments)
    as_json = chosen.json or getattr(chosen, "doctor_json", False)
    text = getattr(chosen, "why", "") or " ".join(getattr(chosen, "text", []))
    if text == "-":
        text = sys.stdin.read()
    report = _doctor.examine()
    asked = text or report.import_error or report.torch_error
    answer = _doctor.explain(asked) if asked else None
    if as_json:
        document = json.loads(report.as_json())
        document["answer"] = answer
        print(json.dumps(document, indent=2, sort_keys=True))
    else:
        print("\n".join(_lines(report)))
        if answer is not None:
            print(f"\nerror:   {asked.strip().splitlines()[-1]}\ncause:   {answer['cause']}\ncure:    {answer['cure']}")
    return 1 if report.problem or report.import_error or report.torch_error else 0


def _lines(report: _doctor.Report) -> List[str]:
    wheel = report.wheel
    if wheel is None:
        lines = ["wheel:   none (no native library here)"]
    else:
        lines = [
            f"wheel:   {wheel['distribution']} {wheel['version']} ({wheel['build_tag']}), {wheel['platform']}",
            f"for:     torch {wheel['torch']}, CUDA {wheel['cuda']}, driver {wheel['min_driver']} or newer",
            "code:    " + ", ".join(f"{arch} ({count} kernels)" for arch, count in wheel["kernels"].items()),
        ]
    gpus = ", ".join(f"{gpu['name']} ({gpu['capability']})" for gpu in report.gpus) or "no NVIDIA GPU visible"
    torch = f"torch {report.torch}, CUDA {report.torch_cuda or 'none'}" if report.torch else "no torch"
    lines += [
        f"machine: {gpus}; driver {report.driver or 'none'}",
        f"python:  {report.python} on {report.platform} {report.libc}".rstrip(),
        f"torch:   {torch}; triton {report.triton or 'none'}",
    ]
    if report.torch_error:
        lines.append(f"torch does not import: {report.torch_error}")
    lines += [f"note:    {note}" for note in report.notes]
    if report.problem:
        lines.append(f"fit:     no: {report.problem}")
    elif report.import_error:
        lines.append(f"fit:     it should, but the import fails: {report.import_error}")
    else:
        lines.append("fit:     yes")
    return lines


if __name__ == "__main__":
    sys.exit(main())
