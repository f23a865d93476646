#!/usr/bin/env python3
"""Label a folder with 1, 2 and 4 processes by hiast-label, check that every file is the same, and compare the speeds.

    python benchmarks/labeling.py CHECKPOINT IMAGES [key=value ...] [--processes 1 2 4]

Each process uses one thread. The time is that between the first and the last label file, so without start-up. Prints a
markdown table; "share of the ideal" is the speed divided by that of one process and by the number of processes or of
cores, whichever is smaller.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch


def label(command: list[str], output: Path, processes: int) -> tuple[float, int]:
    """Seconds from the first to the last label file, and how many were written in between."""
    words = [*command, f"output={output}", f"trainer.devices={processes}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    times = sorted(path.stat().st_mtime for path in (output / "labels").rglob("*.png"))
    return times[-1] - times[0], len(times) - 1


def contents(folder: Path) -> dict[Path, bytes]:
    """All files below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("overrides", nargs="*", help="passed to hiast-label")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    arguments = parser.parse_args()
    command = [
        shutil.which("hiast-label") or str(Path(sys.executable).parent / "hiast-label"),
        f"checkpoint={arguments.checkpoint}",
        f"input={arguments.images}",
        "trainer.accelerator=cpu",
        *arguments.overrides,
    ]
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} cores, {platform.machine()}, torch {torch.__version__}; {' '.join(arguments.overrides)}\n"
    )
    print("| processes | images/s | times one process | share of the ideal |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        rates: dict[int, float] = {}
        for processes in arguments.processes:
            seconds, count = label(command, Path(name) / str(processes), processes)
            rates[processes] = count / seconds
            first = arguments.processes[0]
            if contents(Path(name) / str(processes)) != contents(Path(name) / str(first)):
                raise SystemExit(f"{processes} processes make other files than {first}.")
            times = rates[processes] / rates[first]
            ideal = min(processes, cores) / min(first, cores)
            print(f"| {processes} | {rates[processes]:.2f} | {times:.2f} | {times / ideal:.0%} |", flush=True)


if __name__ == "__main__":
    main()
