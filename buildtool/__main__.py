"""``python -m buildtool``."""

from __future__ import annotations

import signal
import sys

from buildtool.cli import main

if __name__ == "__main__":
    # What ends a job from outside (CI, `timeout`, `kill`) ends it like Ctrl-C, with the programs that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
