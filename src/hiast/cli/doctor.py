"""``hiast-doctor``: what the machine has, what is missing for which feature, and whether a training works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hiast.cli.command import run_command

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from hiast.run.doctor import Check

USAGE = """
hiast-doctor [key=value ...]

Say what the machine has and what is missing for which feature: versions, devices, precision, memory, disks and their
speed. Then train all stages for a few steps on drawn scenes, within two minutes.

  data_root=DIR                 folder of the datasets (default: data)
  outputs=DIR                   folder of the runs (default: outputs)
  self_test=false               look at the machine only

Exit code 0: hiast works here; 1: it does not, as lines with "error" say.
"""

BROKEN = 1
_OF_JOBS = (
    *(
        "HIAST_RUN",
        "LOCAL_",
        "RANK",
        "WORLD_SIZE",
        "NODE_RANK",
        "GROUP_",
        "ROLE_",
        "MASTER_",
        "TORCHELASTIC_",
    ),
    *("SLURM_", "SLURMD_"),
)
"""Beginnings of environment variables that make a process one of several."""

_SELF_TEST = (
    "+scenario=demo", "backbone=deeplab_v2_resnet101", "backbone.pretrained=null", "+backbone.layers=[1,1,1,1]",
    "+backbone.width=8", "source_only.max_steps=4", "source_only.batch_size=2", "warmup.max_steps=2",
    "warmup.batch_size=2", "self_training.max_steps=2", "self_training.batch_size=2", "self_training.rounds=1",
    "pseudo_label.policy.beta=0.1", "selection.images=0", "pictures=0", "data.num_workers=1",
    "validation.size=[64,128]", "data.source_crop.height=64", "data.source_crop.width=128",
    "data.target_crop.height=64", "data.target_crop.width=128",
)  # fmt: skip
"""A run of all stages with a small network and one loader worker."""


def main() -> None:
    """Entry point."""
    sys.exit(run_command(diagnose, "doctor", USAGE))


def diagnose(config: DictConfig) -> int:
    """Print one line for each check."""
    from hiast.run.doctor import check_machine

    broken = _show(check_machine(Path(config.data_root), Path(config.outputs)))
    if config.self_test and not broken:
        broken = _show(self_test(config.seconds))
    sys.stdout.write("hiast does not work here.\n" if broken else "hiast works here.\n")
    return BROKEN if broken else 0


def self_test(seconds: float) -> Iterator[Check]:
    """Draw scenes and train all stages on them by the command, in another process.

    Args:
        seconds: Longest time.
    """
    from hiast.run.doctor import Check
    from hiast.scenes import write_cityscapes, write_gta5

    with tempfile.TemporaryDirectory(prefix="hiast-doctor-") as name:
        folder, began = Path(name), time.monotonic()
        write_gta5(folder / "data", 4, (64, 128))
        write_cityscapes(folder / "data", 4, 2, (64, 128))
        program = "from hiast.cli.train import main; main()"
        words = [*_SELF_TEST, f"data_root={folder / 'data'}", f"run={folder / 'run'}"]
        # It is one process, also within a job of several.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(_OF_JOBS)}
        try:
            done = subprocess.run(
                [sys.executable, "-c", program, *words],
                capture_output=True, text=True, timeout=seconds, env=environment, cwd=folder, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            yield Check(
                "self-test", "warning", f"It did not end within {seconds:.0f} s: the machine is slow or busy."
            )
            return
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it says nothing"]
            yield Check(
                "self-test", "error", f"A training on drawn scenes ended with {done.returncode}: {lines[-1]}"
            )
            return
        result = json.loads((folder / "run/self_training/result_1.json").read_text("utf-8"))
        scores = ", ".join(f"{title} {100 * value:.1f}" for title, value in result["means"].items())
        took = f"{time.monotonic() - began:.0f} s"
        yield Check(
            "self-test", "ok", f"All stages trained on drawn scenes in {took} (untrained network: {scores})."
        )


def _show(checks: Iterable[Check]) -> bool:
    """Print checks as they come; returns whether one is an error."""
    broken = False
    for check in checks:
        broken |= check.verdict == "error"
        sys.stdout.write(f"{check.verdict:8}{check.name}: {check.text}\n")
        sys.stdout.flush()
    return broken


if __name__ == "__main__":
    main()
