"""``python -m buildtool``."""

from __future__ import annotations

import sys

from buildtool.cli import main

if __name__ == "__main__":
    sys.exit(main())
