"""Making a pseudo-label round: begun, continued and completed without ever losing or mixing anything.

Until a round is complete its folder holds ``started.json`` (the identity), ``journal.jsonl`` (one line per
finished group) and perhaps ``survey.npz`` beside the labels. Whatever moment the writing stops at, the same
round can be continued from the groups in the journal, and ends with the same bytes.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.files import write_atomically
from hiast.pseudo_labels.round_reader import (
    FORMAT,
    LABELS,
    MANIFEST,
    STATISTICS,
    THRESHOLDS,
    damaged,
    file_hash,
    label_path,
    read_json,
    thresholds_to_csv,
    to_json,
)

_log = logging.getLogger(__name__)
STARTED, JOURNAL, SURVEY = "started.json", "journal.jsonl", "survey.npz"


@dataclass(frozen=True)
class LabelRecord:
    """What is known of one written label.

    Attributes:
        name: Name of the image.
        sha256: Hash of the file.
        pixels: Kept pixels per class, C integers.
        sums: Sum of the confidences of those pixels per class, C floats.
    """

    name: str
    sha256: str
    pixels: tuple[int, ...]
    sums: tuple[float, ...]


@dataclass(frozen=True)
class GroupRecord:
    """A finished group: its labels are on the disk.

    Attributes:
        thresholds: The thresholds that selected it, C floats; None: everything was kept.
        labels: Its labels, in order.
    """

    thresholds: tuple[float, ...] | None
    labels: tuple[LabelRecord, ...]


class RoundWriter:
    """The one process that keeps a round's books. Use it as a context manager.

    Label files are written with :func:`hiast.pseudo_labels.round_reader.write_label`, by any process; a group is
    finished when ``append`` has recorded it.

    Attributes:
        directory: Folder of the round.
        identity: All that determines the result, as plain JSON.
        complete: The round was complete already; nothing is to be done.
        groups: Groups finished so far.
    """

    def __init__(
        self, directory: Path | str, identity: Mapping[str, object], overwrite: bool = False
    ) -> None:
        """Begin a round, or continue the one that an interrupted process left.

        Args:
            directory: Folder of the round: missing, empty, or holding this very round.
            identity: JSON-able; holds at least ``names`` (list of str), ``label_size`` ([h, w]) and
                ``num_classes``, and should hold all else that determines the labels (order, policy, ...).
            overwrite: Discard a round of another identity that lies there. Other files are never touched.

        Raises:
            InputError: The folder holds another round, a damaged one, or something else; or another process
                is working in it.
        """
        self.directory = Path(directory)
        self.identity: dict[str, Any] = json.loads(to_json(identity))
        for name in self.identity["names"]:
            label_path(self.directory, name)
        if len(set(self.identity["names"])) != len(self.identity["names"]):
            raise InputError("Two images have the same name: each needs its own for its pseudo-label.")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.groups = 0
        self._journal: BinaryIO | None = None
        self._lock = _lock(self.directory)
        try:
            self._refuse_or_discard(overwrite)
            self.complete = (self.directory / MANIFEST).is_file()
            if not self.complete:
                write_atomically(self.directory / STARTED, to_json({"identity": self.identity}))
                self._journal = (self.directory / JOURNAL).open("a+b")
                self.groups = self._recover(self._journal)
            self._tidy()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RoundWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; a round that is not complete can be continued later."""
        journal, self._journal = self._journal, None
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
        if journal is not None:
            journal.close()

    def append(self, group: GroupRecord) -> None:
        """Record that the labels of the next group are on the disk."""
        line = json.dumps(asdict(group), ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        if self._journal is None:
            raise ValueError("The round is closed.")
        self._journal.write(line.encode())
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.groups += 1

    def records(self) -> Iterator[GroupRecord]:
        """The finished groups, in order."""
        with (self.directory / JOURNAL).open("rb") as journal:
            for _ in range(self.groups):
                yield _parse(journal.readline())

    def save_survey(self, groups: int, counts: NDArray[np.int64]) -> None:
        """Keep the counts of the first ``groups`` groups of a survey, to continue from."""
        write_atomically(self.directory / SURVEY, lambda file: np.savez(file, groups=groups, counts=counts))

    def survey(self) -> tuple[int, NDArray[np.int64]] | None:
        """What ``save_survey`` kept last."""
        path = self.directory / SURVEY
        if not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as kept:
                return int(kept["groups"]), kept["counts"]
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise damaged(path, "cannot be read") from error

    def finish(self, class_mean_confidence: NDArray[np.float64]) -> None:
        """Complete the round: thresholds and statistics, then the manifest.

        Args:
            class_mean_confidence: float64 [C]; nan = never kept.
        """
        thresholds: list[tuple[float, ...]] = []
        labels: dict[str, LabelRecord] = {}
        for group in self.records():
            labels |= {label.name: label for label in group.labels}
            if group.thresholds is not None:
                thresholds.append(group.thresholds)
        names: Sequence[str] = self.identity["names"]
        missing = [name for name in names if name not in labels]
        if missing or len(labels) != len(names):
            raise ValueError(f"The round is not finished: {len(missing)} of {len(names)} labels are missing.")
        height, width = self.identity["label_size"]
        contents = {STATISTICS: to_json(_statistics(labels, class_mean_confidence, height * width))}
        if thresholds:
            contents[THRESHOLDS] = thresholds_to_csv(np.array(thresholds))
        for name, content in contents.items():
            write_atomically(self.directory / name, content)
        manifest = {
            "format": FORMAT,
            "identity": self.identity,
            "files": {name: file_hash(content) for name, content in contents.items()},
            "labels": {
                name: {"sha256": labels[name].sha256, "pixels": labels[name].pixels} for name in names
            },
        }
        write_atomically(self.directory / MANIFEST, to_json(manifest))
        self.complete = True
        self.close()
        self._tidy()

    def _refuse_or_discard(self, overwrite: bool) -> None:
        found = next((name for name in (MANIFEST, STARTED) if (self.directory / name).is_file()), None)
        if found is None:
            if any(not _is_part(path) for path in self.directory.iterdir()):
                raise InputError(
                    f"{self.directory} holds files that are not a pseudo-label round: choose an empty folder."
                )
            return
        there = read_json(self.directory / found).get("identity")
        if there == self.identity:
            return
        if not overwrite:
            raise InputError(
                f"{self.directory} holds another pseudo-label round: it differs in "
                f"{_difference(there, self.identity)}. Choose another folder, or pass overwrite=true to "
                "discard it."
            )
        # The marker outlives everything else, so that a discarding cut short is still known as a round.
        write_atomically(self.directory / STARTED, to_json({"identity": there}))
        for name in (MANIFEST, JOURNAL, SURVEY, STATISTICS, THRESHOLDS):
            (self.directory / name).unlink(missing_ok=True)
        if (self.directory / LABELS).is_dir():
            shutil.rmtree(self.directory / LABELS)

    def _recover(self, journal: BinaryIO) -> int:
        """Count the journal's groups up to the first whose line or labels are not whole, and cut it there."""
        journal.seek(0)
        groups = end = 0
        for line in journal.readlines():
            if not (line.endswith(b"\n") and self._is_whole(line)):
                _log.warning("%s: group %d is not whole and is made again.", self.directory, groups)
                break
            groups, end = groups + 1, end + len(line)
        journal.truncate(end)
        return groups

    def _is_whole(self, line: bytes) -> bool:
        try:
            group = _parse(line)
        except (ValueError, KeyError, TypeError):
            return False
        paths = {label_path(self.directory, label.name): label.sha256 for label in group.labels}
        return all(
            path.is_file() and file_hash(path.read_bytes()) == sha256 for path, sha256 in paths.items()
        )

    def _tidy(self) -> None:
        for path in filter(_is_part, self.directory.rglob(".*.part")):
            path.unlink(missing_ok=True)
        if self.complete:
            for name in (JOURNAL, SURVEY, STARTED):
                (self.directory / name).unlink(missing_ok=True)


def _lock(directory: Path) -> int | None:
    """Keep other processes out until the returned file is closed, or this process ends in whatever way."""
    if sys.platform == "win32":
        return None
    import fcntl

    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise InputError(f"Another process is labeling into {directory}: wait until it ends.") from error
    return lock


def _parse(line: bytes) -> GroupRecord:
    content = json.loads(line)
    thresholds = content["thresholds"]
    labels = tuple(
        LabelRecord(label["name"], label["sha256"], tuple(label["pixels"]), tuple(label["sums"]))
        for label in content["labels"]
    )
    return GroupRecord(None if thresholds is None else tuple(thresholds), labels)


def _statistics(
    labels: Mapping[str, LabelRecord], mean: NDArray[np.float64], label_pixels: int
) -> dict[str, object]:
    kept = (
        np.array([label.pixels for label in labels.values()], np.int64)
        .reshape(len(labels), len(mean))
        .sum(axis=0)
    )
    return {
        "class_mean_confidence": [None if np.isnan(value) else value for value in mean.tolist()],
        "class_pixels": kept.tolist(),
        "coverage": int(kept.sum()) / max(1, len(labels) * label_pixels),
    }


def _is_part(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")


def _difference(there: object, here: Mapping[str, object]) -> str:
    if not isinstance(there, dict):
        return "everything"
    keys = sorted(key for key in here.keys() | there.keys() if here.get(key) != there.get(key))
    return ", ".join(keys)
