"""The record beside the frames of a video: which video they come from, and which frames there are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hiast.errors import InputError
from hiast.files import write_atomically

_PART = 1 << 20


@dataclass(frozen=True)
class Record:
    """What ``frames.json`` says.

    Attributes:
        bytes: Size of the video file.
        sha256: Hash of its first, middle and last MiB.
        every: Distance of the frames.
        frames: Number of frames in the video; None: the extraction is not finished.
        damaged: First and last frame of each stretch that is damaged or missing; their frames are not written.
        error: Why the video cannot be read at all, or None.
    """

    bytes: int
    sha256: str
    every: int
    frames: int | None = None
    damaged: tuple[tuple[int, int], ...] = ()
    error: str | None = None

    @property
    def identity(self) -> tuple[int, str, int]:
        """What decides whether the frames belong to a video."""
        return self.bytes, self.sha256, self.every

    def numbers(self) -> list[int]:
        """Numbers of the frames that are written."""
        wanted = range(0, self.frames or 0, self.every)
        return [
            number for number in wanted if not any(first <= number <= last for first, last in self.damaged)
        ]


def frame_path(folder: Path, number: int) -> Path:
    """File of a frame."""
    return folder / f"{number:08d}.png"


def is_complete(record: Record, folder: Path) -> bool:
    """Whether the extraction is finished and all of its frames are there."""
    there = {path.name for path in folder.glob("*.png")}
    return record.frames is not None and all(frame_path(folder, n).name in there for n in record.numbers())


def identify(video: Path, every: int) -> Record:
    """The record of a video before anything is extracted.

    Raises:
        InputError: The video is missing, or the distance is not a whole number from 1.
    """
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise InputError(f"Every {every}th frame of {video} cannot be taken; choose a whole number from 1.")
    if not video.is_file():
        raise InputError(f"{video} is missing; put the video there or change the pattern.")
    return Record(video.stat().st_size, _digest(video), every)


def _digest(video: Path) -> str:
    """SHA-256 of the first, middle and last MiB: to hash a whole video of many GB would take long at each start."""
    digest = hashlib.sha256()
    size = video.stat().st_size
    with video.open("rb") as file:
        for start in (0, (size - _PART) // 2, size - _PART):
            file.seek(max(0, start))
            digest.update(file.read(_PART))
    return digest.hexdigest()


def read_record(folder: Path, wanted: Record) -> Record | None:
    """The record of a folder; None: there is none, or of another video of which no frame was written.

    Raises:
        InputError: The record is damaged or of another video.
    """
    path = folder / "frames.json"
    if not path.is_file():
        return None
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        damaged = tuple((int(first), int(last)) for first, last in entries.pop("damaged", ()))
        record = Record(**entries, damaged=damaged)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged: remove its folder, so that the frames are made anew."
        ) from error
    if record.identity == wanted.identity:
        return record
    if not any(folder.glob("*.png")):
        return None
    raise InputError(
        f"{folder} holds frames of another video or distance: remove it or choose another folder (frames)."
    )


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a folder.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(folder / "frames.json", json.dumps(asdict(record)).encode())
