"""A build that is ended from outside takes the programs that it started with it, and its temporary files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_of_it(root: Path, tmp_path: Path, sign: signal.Signals) -> None:
    told = tmp_path / "pid"
    compiler = tmp_path / "g++"
    compiler.write_text(f"#!/bin/sh\necho $$ > {told}.new && mv {told}.new {told}\nexec sleep 600\n")
    compiler.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    places = {"BUILDTOOL_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary)}
    env = {**os.environ, **places, "CXX": str(compiler)}
    argv = [sys.executable, "-m", "buildtool", "build", "package=sageattn3", "torch=2.8.0", "cuda=12.8", "--dry-run"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background, also by children
    process = subprocess.Popen(argv, cwd=root, env=env, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while not told.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "error: interrupted\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)
    assert list(temporary.iterdir()) == []
