"""The run directory: its paths, the lock on it, its configuration, and the results of finished rounds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from hiast.data.io.patterns import IMAGE_SUFFIXES
from hiast.errors import InputError
from hiast.files import parse_yaml, write_atomically, write_json
from hiast.locks import lock_folder
from hiast.ranks import is_rank_zero
from hiast.run.environment import environment
from hiast.run.resume_check import first_difference
from hiast.stage_names import STAGES

_OWN_FILES = ("config.yaml", "environment.json", "metrics.csv")
"""Files by which a folder is known to be a run directory."""

_BESIDE = frozenset({"cache", "data_check"})
"""Folders that other commands write into the folder of a scenario's runs."""


class RunDirectory:
    """Paths inside a run directory, and the lock on it.

    Args:
        path: The directory; made if it does not exist.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock: FileLock | None = None

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
        """File of all recorded numbers."""
        return self.path / "metrics.csv"

    @property
    def skipped(self) -> Path:
        """List of the files that cannot be read and are left out of the whole run."""
        return self.path / "skipped.json"

    @property
    def pictures(self) -> Path:
        """Folder of picture sheets."""
        return self.path / "pictures"

    def holds(self, config: str) -> bool:
        """Whether the run has started with exactly this configuration, as YAML."""
        path = self.path / "config.yaml"
        return path.is_file() and path.read_bytes() == config.encode()

    def open(self, config: str, seed: int, hardware: str | None = None) -> None:
        """Lock the directory and record the configuration and the environment of this start.

        Only rank zero does anything.

        Args:
            config: The whole configuration as YAML. To resume a run it must be the one that the run started with,
                except for settings that do not change existing results: the place of the data, the number of loader
                workers, devices, what was left to the machine, settings of stages that have not started.
            seed: Seed of the run.
            hardware: What was chosen for this machine, in one sentence.

        Raises:
            InputError: Another process works in the directory, it cannot be written, a file of the run is damaged, or
                it holds a run of another configuration.
        """
        if not is_rank_zero():
            return
        self.lock()
        path = self.path / "config.yaml"
        if path.is_file():
            remedy = "restore it, or choose another directory with run=DIR"
            difference = first_difference(
                _read_yaml(path, remedy), config, self._started_stages(), self._untrained_stages()
            )
            if difference is not None:
                raise InputError(
                    f"{self.path} holds a run of another configuration ({difference}): give the same settings to "
                    "resume it, or choose another directory with run=DIR."
                )
        starts = self._earlier_starts()
        write_atomically(path, config.encode())
        write_json(
            self.path / "environment.json", {"starts": [*starts, environment(seed) | {"hardware": hardware}]}
        )

    def lock(self) -> None:
        """Lock the directory until ``unlock`` or the end of the process, and remove the half files of a killed one.

        A second call does nothing.

        Raises:
            InputError: Another process works in it, it holds pictures of something else, or it cannot be written.
        """
        if self._lock is not None:
            return
        busy = f"Another process is working in {self.path}: wait for it, or choose another directory with run=DIR."
        try:
            self._check_foreign()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path, busy)
            for part in self.path.rglob(".*.part"):
                part.unlink()
        except OSError as error:
            self.unlock()
            raise InputError(f"The run directory {self.path} cannot be written: {error.strerror}.") from error

    def _check_foreign(self) -> None:
        """Refuse a folder of data, into which a run would be mixed; log files beside a run are fine."""
        if not self.path.is_dir() or any((self.path / name).exists() for name in _OWN_FILES):
            return
        for folder, inner, names in os.walk(self.path):
            inner[:] = sorted(set(inner) - _BESIDE)
            for name in sorted(names):
                if Path(name).suffix[1:].lower() in IMAGE_SUFFIXES:
                    raise InputError(
                        f"The run directory {self.path} holds files of something else, such as {Path(folder, name)}: "
                        "choose another directory with run=DIR."
                    )

    def unlock(self) -> None:
        """Release the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def read_result(self, stage: str, round_number: int) -> dict[str, Any] | None:
        """Result of a finished round; None: the round is not finished.

        Raises:
            InputError: The file is damaged.
        """
        path = self._result(stage, round_number)
        if not path.is_file():
            return None
        return _read_json(path, "restore it, or delete it to run its round again")

    def write_result(self, stage: str, round_number: int, result: dict[str, Any]) -> None:
        """Mark a round as finished, with its scores. This is the last file that a round writes."""
        self._result(stage, round_number).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._result(stage, round_number), result)

    def _earlier_starts(self) -> list[Any]:
        path = self.path / "environment.json"
        if not path.is_file():
            return []
        remedy = "restore it, or delete it to lose the record of earlier starts"
        starts = _read_json(path, remedy).get("starts")
        if not isinstance(starts, list):
            raise _damaged(path, remedy)
        return starts

    def _started_stages(self) -> list[str]:
        """Stages that have left a checkpoint or pseudo-labels behind, in order."""
        return [
            stage
            for stage in STAGES
            if (self.checkpoints(stage) / "last.ckpt").is_file() or self.round(stage, 1).is_dir()
        ]

    def _untrained_stages(self) -> list[str]:
        """Stages that have left pseudo-labels behind, but no checkpoint."""
        return [
            stage for stage in self._started_stages() if not (self.checkpoints(stage) / "last.ckpt").is_file()
        ]

    def _result(self, stage: str, round_number: int) -> Path:
        return self.path / stage / f"result_{round_number}.json"


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise _damaged(path, remedy) from error
    if not isinstance(content, dict):
        raise _damaged(path, remedy)
    return content


def _read_yaml(path: Path, remedy: str) -> str:
    """Text of a configuration that can be parsed."""
    try:
        text = path.read_text("utf-8")
        config = parse_yaml(text)
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(path, remedy) from error
    if not isinstance(config, dict) or not isinstance(config.get("stages"), list):
        raise _damaged(path, remedy)
    return text


def _damaged(path: Path, remedy: str) -> InputError:
    return InputError(f"{path} is damaged: {remedy}.")
