"""Processes of one run: those that the first one has started end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

FIRST = """
import os, subprocess, sys, time
os.environ["HIAST_STARTER"] = str(os.getpid()) if sys.argv[3] == "True" else "1"
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]])
time.sleep(600)
"""
SECOND = """
import sys, time
from pathlib import Path
from hiast.run.distributed import end_with_starter
end_with_starter(pause=0.05, grace=0.05)
while True:
    with Path(sys.argv[1]).open("a") as file:
        file.write(".")
    time.sleep(0.05)
"""


@pytest.mark.parametrize("is_starter", [True, False])
def test_a_process_ends_with_the_one_that_has_started_it(tmp_path: Path, is_starter: bool) -> None:
    """One that a script of the user has started may outlive the script."""
    alive = tmp_path / "alive"
    words = [sys.executable, "-c", FIRST, SECOND, str(alive), str(is_starter)]
    first = subprocess.Popen(words, start_new_session=True)
    try:
        wait_for(lambda: alive.is_file())
        first.kill()
        first.wait()
        time.sleep(1)
        before = alive.stat().st_size
        time.sleep(1)
        assert (alive.stat().st_size == before) == is_starter
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def wait_for(happens: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)
