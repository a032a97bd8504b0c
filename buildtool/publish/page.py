"""The selector: one static HTML page that turns a machine into the command that installs the right wheel.

It holds its data, so it works from a file, offline, and without a server that answers questions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from buildtool.prove.package import Cause

TEMPLATE = Path(__file__).with_name("page.html")
_MARK = "@DATA@"
_KEYS = ("name", "package", "channel", "size", "sha256")
_PLAN_KEYS = ("cuda", "python", "archs", "min_driver")


def render_page(manifest: bytes, causes: Iterable[Cause], site_url: str = "") -> str:
    """The page for a ``wheels.json``. Its commands name ``site_url``, or without it the page's own address."""
    rows = json.loads(manifest)["wheels"]
    data = {"wheels": [_row(row) for row in rows], "causes": [asdict(cause) for cause in causes], "site": site_url}
    # "</" would end the script element that the data stands in.
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return TEMPLATE.read_text("utf-8").replace(_MARK, text)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: row[key] for key in _KEYS},
        **{key: row["plan"][key] for key in _PLAN_KEYS},
        "torch": str(row["channel"]).partition("/torch")[2],
        "system": system_of(str(row["plan"]["platform"])),
        "verified": row["report"]["level"],
    }


def system_of(platform: str) -> str:
    """``linux_x86_64`` and ``manylinux_2_28_x86_64`` → ``Linux x86_64``; ``win_amd64`` → ``Windows x86_64``."""
    name = "Windows" if platform.startswith("win") else "Linux"
    return f"{name} {'aarch64' if platform.endswith(('aarch64', 'arm64')) else 'x86_64'}"
