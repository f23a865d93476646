"""Benchmarks that reach into the product run; their times are not looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STEP = "--height 64 --width 64 --batch 2 --steps 1 --networks efficientnet_lite0_fpn --straightforward"
READ_OUT = "--height 64 --width 64 --classes 5 --repeats 1 --sizes 32x32"


@pytest.mark.parametrize(
    ("script", "words", "rows"),
    [
        ("step.py", STEP, ["| rounds | product |", "| rounds | straightforward |", "| online | product |"]),
        ("readout.py", READ_OUT, ["| labels and confidence |", "| counts |"]),
    ],
)
def test_runs(script: str, words: str, rows: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / script), *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert all(row in done.stdout for row in rows), done.stdout
