"""What is done already in an output folder, and with which network and settings."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.files import write_atomically
from hiast.prediction.outputs import KINDS

FILE = "predict.json"
_FOLDER = ".progress"


class Records:
    """One line for each image that is done, in a file of each process, so that an interrupted call resumes.

    Args:
        folder: The output folder.
        rank: This process, counted from 0.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self.folder = folder
        self.path = folder / _FOLDER / f"{rank}.jsonl"
        self._latest = 0.0
        self.known = self.read()

    def read(self) -> dict[str, dict[str, Any]]:
        """All records of all processes: name -> record."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted((self.folder / _FOLDER).glob("*.jsonl")):
            for line in path.read_bytes().split(b"\n"):
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # The last line of a process that was killed while it wrote.
                self._latest = max(self._latest, record.get("written", 0.0))
                # Another number of processes has divided the images otherwise.
                known = found.get(record["name"])
                if known is None or known.get("written", 0) <= record.get("written", 0):
                    found[record["name"]] = record
        return {name: record for name, record in found.items() if not record.get("forgotten")}

    def done(self, name: str, source: Path) -> bool:
        """Whether an image is recorded, and its file has not changed since."""
        record = self.known.get(name)
        return record is not None and record["source"] == signature(source)

    def frames(self, name: str, source: Path) -> int | None:
        """Number of frames of a video that is recorded and has not changed since; None: it is not."""
        if not self.done(name, source):
            return None
        frames: int | None = self.known[name].get("frames")
        return frames

    def add(
        self, name: str, source: Path, prediction: Prediction, classes: int, frames: int | None = None
    ) -> None:
        """Record an image whose files are written; ``frames``: number of frames of a whole video."""
        height, width = prediction.labels.shape
        record = {
            "name": name,
            "source": signature(source),
            "height": height,
            "width": width,
            "confidence": float(prediction.confidence.mean(dtype=np.float64)),
            "written": self._now(),
            "counts": np.bincount(prediction.labels.ravel(), minlength=classes)[:classes].tolist(),
        }
        if frames is not None:
            record["frames"] = frames
        self._append(record)
        self.known[name] = record

    def forget(self, name: str) -> None:
        """Take a record back."""
        self._append({"name": name, "forgotten": True, "written": self._now()})
        self.known.pop(name, None)

    def _now(self) -> float:
        """The time, but after all that is recorded: a clock that goes backwards must not make new records old."""
        return max(time.time(), self._latest + 0.001)

    def _append(self, record: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            # A line break first ends a line that a killed process has left half.
            file.write("\n" + json.dumps(record, ensure_ascii=False))


def signature(path: Path) -> list[int]:
    """Size and time of change of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def open_folder(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make an output folder, or resume in one of the same network and settings.

    A folder in which nothing was predicted takes other settings: its first call has failed.

    Raises:
        InputError: It holds predictions of another network or other settings, and ``overwrite`` is not set.
    """
    path = folder / FILE
    wanted = json.loads(json.dumps(identity))
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if before != wanted and not overwrite and _holds_predictions(folder):
            keys = [key for key in {**wanted, **before} if before.get(key) != wanted.get(key)]
            raise InputError(
                f"{folder} holds predictions made with other settings ({', '.join(keys)}): choose another output, or "
                "add overwrite=true."
            )
        if overwrite:
            for record in (folder / _FOLDER).glob("*.jsonl"):
                record.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(wanted, indent=2, ensure_ascii=False) + os.linesep).encode("utf-8"))


def _holds_predictions(folder: Path) -> bool:
    """Whether a prediction is recorded, or written by a process that was killed before it recorded it."""
    written = (path.is_file() for kind in KINDS for path in (folder / kind).rglob("*"))
    return bool(Records(folder).known) or any(written)
