"""Frames of videos as unlabeled images: every n-th frame is written once as a PNG, then read like any image."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import cv2

from hiast.classes import LabelSpace
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.images import read_ids
from hiast.data.io.listing import Listing, Pair, Split
from hiast.data.io.patterns import find_files
from hiast.errors import InputError
from hiast.files import write_atomically

log = logging.getLogger(__name__)

_TOLERATED = 0.02
"""Share of the declared frames that may be missing: containers often state an estimate."""

_PART = 1 << 20


def extract_frames(video: Path | str, folder: Path | str, every: int = 30) -> tuple[Path, ...]:
    """Write frames 0, every, 2 * every, ... of a video as PNG files.

    Finished work is found again by the video's size and content, of which the first, middle and last MiB are hashed;
    an interrupted extraction goes on where it was.

    Args:
        video: Any file that OpenCV's FFmpeg can read.
        folder: Folder for the frames; files are called by the number of the frame in the video.
        every: Distance of the frames, at least 1.

    Returns:
        The frames in order.

    Raises:
        InputError: The video is missing, cannot be decoded, or ends before the frames it declares; or the folder
            holds frames of something else.
    """
    video, folder = Path(video), Path(folder)
    if every < 1:
        raise InputError(f"Every {every}th frame of {video} cannot be taken; choose 1 or more.")
    if not video.is_file():
        raise InputError(f"{video} is missing; put the video there or change the pattern.")
    wanted: dict[str, Any] = {"bytes": video.stat().st_size, "sha256": _digest(video), "every": every}
    record = folder / "frames.json"
    known = _read_record(record)
    if known is not None and {key: known.get(key) for key in wanted} != wanted:
        raise InputError(
            f"{folder} holds frames of another video or distance: remove it or choose another folder."
        )
    if known is None or "frames" not in known:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(record, json.dumps(wanted).encode())
        known = {**wanted, "frames": _decode(video, folder, every)}
        write_atomically(record, json.dumps(known).encode())
    return tuple(_frame(folder, number) for number in range(0, known["frames"], every))


def list_video(
    root: Path | str, videos: str, frames: Path | str, every: int, classes: LabelSpace, name: str = "video"
) -> Listing:
    """List the frames of videos, extracting those that are missing.

    Args:
        root: Folder that the pattern is relative to.
        videos: Pattern of the video files (see ``hiast.data.io.patterns.Pattern``).
        frames: Folder to keep the frames in, one folder per video.
        every: Distance of the frames.
        classes: The scenario's classes.
        name: For messages.

    Raises:
        InputError: No video matches, or one cannot be read.
    """
    pairs = []
    for found in find_files(Path(root), videos, f"videos of {name}"):
        # Videos of one name but another suffix stay apart; so do other distances.
        folder = f"{found.name}{found.path.suffix}-every-{every}"
        for path in extract_frames(found.path, Path(frames) / folder, every):
            pairs.append(Pair(f"{folder}/{path.stem}", path, None))
    return Listing(name, tuple(pairs), {}, classes, read_ids)


def _frame(folder: Path, number: int) -> Path:
    return folder / f"{number:08d}.png"


def _digest(video: Path) -> str:
    """SHA-256 of the first, middle and last MiB: a whole video of many GB would take long at each start."""
    digest = hashlib.sha256()
    size = video.stat().st_size
    with video.open("rb") as file:
        for start in (0, (size - _PART) // 2, size - _PART):
            file.seek(max(0, start))
            digest.update(file.read(_PART))
    return digest.hexdigest()


def _read_record(record: Path) -> dict[str, Any] | None:
    if not record.is_file():
        return None
    try:
        known = json.loads(record.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{record} is damaged: remove its folder, so that the frames are made anew."
        ) from error
    return known if isinstance(known, dict) else {}


def _decode(video: Path, folder: Path, every: int) -> int:
    """Write the frames that are missing; returns the number of frames in the video."""
    capture = cv2.VideoCapture(str(video))
    try:
        if not capture.isOpened():
            raise InputError(f"{video} cannot be opened as a video: fetch it again or convert it to MP4.")
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        count = 0
        while capture.grab():
            path = _frame(folder, count)
            if count % every == 0 and not path.exists():
                decoded, pixels = capture.retrieve()
                if not decoded:
                    raise InputError(f"{video} is damaged at frame {count}: fetch it again or cut it there.")
                write_atomically(path, cv2.imencode(".png", pixels)[1].tobytes())
            count += 1
    finally:
        capture.release()
    if count == 0 or count < declared * (1 - _TOLERATED) - 2:
        raise InputError(
            f"{video} ends at frame {count} of {declared}: fetch it again, or write the part that can be read "
            "to a new file."
        )
    log.info("%s: %d frames of %d written to %s.", video, -(-count // every), count, folder)
    return count


class VideoDataModule(DatasetDataModule):
    """Every n-th frame of videos, as an unlabeled target.

    Args:
        data_root: Folder that the pattern is relative to.
        videos: Pattern of the video files: "drives/**/*.mp4".
        classes: The scenario's classes.
        every: Take frames 0, every, 2 * every, ...
        frames: Folder to keep the frames in, as PNG; None: ``frames`` in ``data_root``.
        name: For messages.
        **options: As ``DatasetDataModule``.
    """

    one_split = True

    def __init__(
        self,
        data_root: Path | str,
        videos: str,
        classes: LabelSpace,
        *,
        every: int = 30,
        frames: Path | str | None = None,
        name: str = "video",
        **options: Any,
    ) -> None:
        self.own_classes = classes
        self.videos = videos
        self.every = every
        self.frames = Path(data_root) / "frames" if frames is None else Path(frames)
        self.title = name
        super().__init__(data_root, classes, **options)

    @property
    def has_val(self) -> bool:
        """False: frames have no labels to validate with."""
        return False

    def prepare_data(self) -> None:
        """Extract the frames; Lightning calls this in one process per machine."""
        self.train_dataset(labeled=False)

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All frames; those that are missing are extracted first."""
        if labeled:
            raise InputError(f"{self.title}: the frames of videos have no labels; use them as a target.")
        return list_video(self.data_root, self.videos, self.frames, self.every, self.classes, self.title)
