"""The package's modules from the source tree, without its native library: as a package whose __init__ is not run."""

from __future__ import annotations

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

if "sageattn3" not in sys.modules:
    package = types.ModuleType("sageattn3")
    package.__path__ = [str(ROOT / "sageattention3_blackwell" / "sageattn3")]
    sys.modules["sageattn3"] = package
