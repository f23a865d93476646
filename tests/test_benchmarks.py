"""Benchmarks that reach into the product run; their times are not looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
STEP = "--height 64 --width 64 --batch 2 --steps 1 --networks efficientnet_lite0_fpn --straightforward"
READ_OUT = "--height 64 --width 64 --classes 5 --repeats 1 --sizes 32x32"
LOSS = "--height 32 --width 32 --batch 1 --classes 3 --repeats 1 --device cpu --allocator default"


@pytest.mark.parametrize(
    ("script", "words", "rows"),
    [
        ("step.py", STEP, ["| rounds | product |", "| rounds | straightforward |", "| online | product |"]),
        ("readout.py", READ_OUT, ["| labels and confidence |", "| counts |"]),
        ("loss_head.py", LOSS, ["| published-like |", "| plain |"]),
    ],
)
def test_runs(script: str, words: str, rows: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / script), *words.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert all(row in done.stdout for row in rows), done.stdout


def test_parts_for_a_gpu_run_at_a_small_size(tmp_path: Path) -> None:
    parts = ["draw_large", "prepare", "rounds", "validation", "labeling", "mic", "step_eager"]
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [str(BENCHMARKS / "gpu"), str(tmp_path / "out"), "--small", *parts]
    done = subprocess.run(
        command, env=os.environ | {"PATH": tools}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == parts
    written = {part: (tmp_path / "out" / f"{part}.txt").read_text() for part in parts}
    assert '"labeling"' in written["validation"]
    assert "| 1 |" in written["labeling"]
    assert "| rounds | straightforward |" in written["step_eager"]
    assert (tmp_path / "out/mic/report.html").is_file()
