"""The run directory: where things lie, who works in it, and what has been finished."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
import weakref
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import torch

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.ranks import is_rank_zero
from hiast.run.resume_check import first_difference

_RECORDED_PACKAGES = (
    "hiast", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "albumentations",
    "segmentation-models-pytorch", "timm", "wandb", "numpy", "opencv-python-headless", "imagecodecs", "pillow",
)  # fmt: skip


class RunDirectory:
    """Paths inside a run directory, and the lock on it.

    Args:
        path: The directory; made if it does not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock: TextIO | None = None

    def stage(self, stage: str) -> Path:
        """Folder of a stage."""
        return self.path / stage

    def checkpoints(self, stage: str) -> Path:
        """Folder of a stage's checkpoints."""
        return self.path / stage / "checkpoints"

    def round(self, stage: str, number: int) -> Path:
        """Folder of the pseudo-labels of a round, counted from 1."""
        return self.path / stage / "rounds" / str(number)

    @property
    def metrics(self) -> Path:
        """The file of all recorded numbers."""
        return self.path / "metrics.csv"

    @property
    def skipped(self) -> Path:
        """The list of files that could not be read and are left out of the whole run."""
        return self.path / "skipped.json"

    @property
    def pictures(self) -> Path:
        """Folder of picture sheets."""
        return self.path / "pictures"

    def begin(self, config: str, seed: int) -> None:
        """Lock the directory and record the configuration, and the environment of this start behind earlier ones.

        Args:
            config: The whole configuration as YAML. A run that goes on must have the one that it began with, but
                for what changes nothing of what is there: where data lie, who reads them, stages still to come.
            seed: The run's seed.

        Raises:
            InputError: Another process works in it, it cannot be written, or it holds a run of another
                configuration.
        """
        if not is_rank_zero():
            return
        self.lock()
        there = self.path / "config.yaml"
        difference = first_difference(there.read_text(), config, self._begun()) if there.is_file() else None
        if difference is not None:
            raise InputError(
                f"{self.path} holds a run of another configuration ({difference}): give the same settings to continue "
                "it, or choose another directory with run=DIR."
            )
        write_atomically(there, config.encode())
        starts = self.path / "environment.json"
        before = json.loads(starts.read_text())["starts"] if starts.is_file() else []
        write_json(starts, {"starts": [*before, environment(seed)]})

    def lock(self) -> None:
        """Take the directory for this process, until the process ends, however it ends.

        A second call does nothing. Half files that a killed process left are removed.

        Raises:
            InputError: Another process works in it, or it cannot be written.
        """
        if self._lock is not None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
            # A loader worker that outlives this process for some seconds must not keep the lock.
            os.register_at_fork(after_in_child=partial(_unlock, weakref.ref(self)))
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for part in self.path.rglob(".*.part"):
                part.unlink()
        except BlockingIOError as error:
            raise InputError(
                f"Another process is working in {self.path}: wait for it, or choose another directory with run=DIR."
            ) from error
        except OSError as error:
            raise InputError(f"The run directory {self.path} cannot be written: {error.strerror}.") from error

    def unlock(self) -> None:
        """Give the directory back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read_result(self, stage: str, round_number: int) -> dict[str, Any] | None:
        """What a finished round reported, or None if it is not finished."""
        path = self._result(stage, round_number)
        return json.loads(path.read_text()) if path.is_file() else None  # type: ignore[no-any-return]

    def write_result(self, stage: str, round_number: int, result: dict[str, Any]) -> None:
        """Mark a round as finished, with its scores; written last."""
        self._result(stage, round_number).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._result(stage, round_number), result)

    def _begun(self) -> list[str]:
        """Stages that have left a checkpoint or pseudo-labels behind, in order."""
        return [
            stage
            for stage in ("source_only", "warmup", "self_training", "online")
            if (self.checkpoints(stage) / "last.ckpt").is_file() or self.round(stage, 1).is_dir()
        ]

    def _result(self, stage: str, round_number: int) -> Path:
        return self.path / stage / f"result_{round_number}.json"


def _unlock(directory: weakref.ref[RunDirectory]) -> None:
    found = directory()
    if found is not None:
        found.unlock()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, for people to read too."""
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def environment(seed: int) -> dict[str, Any]:
    """What a run was made with: command, time, versions, seed, commit, devices."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _RECORDED_PACKAGES},
        "git": _git_commit(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        result = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
