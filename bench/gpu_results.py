"""Says whether the committed results of the GPU tests belong to the sources of this checkout.

    python bench/gpu_results.py [--strict]

GPU tests run on a GPU and not in CI (`nox -s gpu_tests -- --record bench/results/gpu_tests-NAME.json`); their results
carry the digest of the sources that were built. Prints one line for each file, as an annotation where GitHub Actions
runs it. Exits 0; with --strict 7 if no file is of these sources and without failures.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from buildtool.make.stage import snapshot_kernels, source_digest  # noqa: E402 - from this checkout


def current_digest(root: Path) -> str:
    """The digest that a wheel built from this checkout would carry."""
    with tempfile.TemporaryDirectory() as folder:
        return source_digest(snapshot_kernels(root, Path(folder)), root, "sageattention")


def judge(document: dict[str, object], digest: str) -> str:
    """``""`` if the results are of these sources and nothing failed, else what is wrong with them."""
    if document["source_digest"] != digest:
        return f"the sources have changed since {document['taken']}: run the GPU tests again on {document['gpu']}"
    counts = document["counts"]
    failed = counts.get("failed", 0) if isinstance(counts, dict) else 0
    return f"{failed} GPU tests failed on {document['gpu']}" if failed else ""


def main(arguments: list[str]) -> int:
    digest = current_digest(ROOT)
    found = sorted((ROOT / "bench/results").glob("gpu_tests-*.json"))
    verdicts = {path: judge(json.loads(path.read_text("utf-8")), digest) for path in found}
    mark = "::warning::" if os.environ.get("GITHUB_ACTIONS") else ""
    for path, verdict in verdicts.items():
        print(f"{mark if verdict else ''}{path.relative_to(ROOT)}: {verdict or 'of these sources, all passed'}")
    if not found:
        print(f"{mark}bench/results has no gpu_tests-*.json: the GPU tests were never recorded")
    fresh = any(not verdict for verdict in verdicts.values())
    return 0 if fresh or "--strict" not in arguments else 7


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
