"""The journal of a round in the making: one line of JSON per finished group."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelRecord:
    """A label that has been written.

    Attributes:
        name: Name of the image.
        sha256: Hash of the file.
        size: (height, width) of the label map.
        pixels: Kept pixels per class at the size at which the network saw the image, C integers.
        sums: Sum of the confidences of those pixels per class, C floats.
        overlap: Pixels with the same label in an earlier round, and pixels that either round keeps; None: there is
            nothing to compare with.
    """

    name: str
    sha256: str
    size: tuple[int, int]
    pixels: tuple[int, ...]
    sums: tuple[float, ...]
    overlap: tuple[int, int] | None = None


@dataclass(frozen=True)
class GroupRecord:
    """A finished group: its labels are on the disk.

    Attributes:
        thresholds: The thresholds that selected it, C floats; None: everything was kept.
        labels: Its labels, in the order of labeling.
        skipped: Images of the group that could not be read: name -> reason.
    """

    thresholds: tuple[float, ...] | None
    labels: tuple[LabelRecord, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All images of the group."""
        return (*(label.name for label in self.labels), *self.skipped)


class Journal:
    """An open journal.

    Opening it removes everything after the last group whose line and labels are whole.

    Args:
        path: The file; made if it is missing.
        is_whole: Whether the labels of a group are on the disk as recorded.

    Attributes:
        groups: Number of finished groups.
        images: Number of images in them, skipped ones included.
        last: The last finished group.
    """

    def __init__(self, path: Path, is_whole: Callable[[GroupRecord], bool]) -> None:
        self.path = path
        self.groups = self.images = 0
        self.last: GroupRecord | None = None
        self._file = path.open("a+b")
        try:
            self._recover(is_whole)
        except BaseException:
            self.close()
            raise

    def append(self, group: GroupRecord) -> None:
        """Record a group, and return when the record is on the disk."""
        text = json.dumps(asdict(group), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._file.write(f"{text}\n".encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._count(group)

    def records(self) -> Iterator[GroupRecord]:
        """The finished groups, in order."""
        with self.path.open("rb") as file:
            for _ in range(self.groups):
                yield _parse(file.readline())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _recover(self, is_whole: Callable[[GroupRecord], bool]) -> None:
        self._file.seek(0)
        end = 0
        for line in self._file:
            group = _parse_whole(line)
            if group is None or not is_whole(group):
                log.warning("%s: group %d is not whole and is labeled again.", self.path.parent, self.groups)
                break
            self._count(group)
            end += len(line)
        self._file.truncate(end)

    def _count(self, group: GroupRecord) -> None:
        self.groups += 1
        self.images += len(group.names)
        self.last = group


def _parse_whole(line: bytes) -> GroupRecord | None:
    """The record in a line; None: the line was cut off or is something else."""
    try:
        return _parse(line) if line.endswith(b"\n") else None
    except (ValueError, KeyError, TypeError):
        return None


def _parse(line: bytes) -> GroupRecord:
    content = json.loads(line)
    thresholds = content["thresholds"]
    labels = tuple(
        LabelRecord(
            label["name"],
            label["sha256"],
            (label["size"][0], label["size"][1]),
            tuple(label["pixels"]),
            tuple(label["sums"]),
            label.get("overlap") and (label["overlap"][0], label["overlap"][1]),
        )
        for label in content["labels"]
    )
    return GroupRecord(None if thresholds is None else tuple(thresholds), labels, dict(content["skipped"]))
