"""Frames of videos as unlabeled images: every n-th frame is written once as a PNG, then read like any image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hiast.classes import LabelSpace
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.io.frames import extract_frames as extract_frames
from hiast.data.io.frames import find_frames
from hiast.data.io.labels import read_ids
from hiast.data.io.listing import Listing, Pair, Split
from hiast.data.io.patterns import search_files
from hiast.errors import InputError


class VideoDataModule(DatasetDataModule):
    """Every n-th frame of videos, as an unlabeled target.

    ``prepare_data`` extracts the frames, which takes long; ``listing`` only lists them. With ``unreadable="skip"``
    videos that cannot be read and damaged stretches are left out and logged.

    Args:
        data_root: Folder that the pattern is relative to.
        videos: Pattern of the video files: "drives/**/*.mp4". Upper and lower case suffixes count as one.
        classes: The scenario's classes.
        every: Take frames 0, every, 2 * every, ...
        frames: Folder to keep the frames in, as PNG; None: ``frames`` in ``cache_folder``.
        cache_folder: Folder for everything that is derived from the videos, for data that cannot be written to; None:
            ``data_root``.
        name: Name for messages.
        **options: As ``DatasetDataModule``.

    Examples:
        >>> from hiast.classes import CITYSCAPES_19
        >>> data = VideoDataModule("drives", "**/*.mp4", CITYSCAPES_19, every=30)
        >>> data.frames.as_posix()
        'drives/frames'
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
        cache_folder: Path | str | None = None,
        name: str = "video",
        **options: Any,
    ) -> None:
        self.own_classes = classes
        self.videos = videos
        self.every = every
        folder = Path(cache_folder or data_root) / "frames" if frames is None else Path(frames)
        self.frames = folder.expanduser()
        self.title = name
        super().__init__(data_root, classes, **options)

    @property
    def has_val(self) -> bool:
        """False: frames have no labels to validate with."""
        return False

    def prepare_data(self) -> None:
        """Extract the frames that are missing; Lightning calls this in one process per machine."""
        for video, folder in self._folders():
            extract_frames(video, self.frames / folder, self.every, self.unreadable)

    def listing(self, split: Split, *, labeled: bool) -> Listing:
        """All frames, which ``prepare_data`` has extracted.

        Raises:
            InputError: Frames are not extracted yet or missing, no video matches, or labels are asked for.
        """
        if labeled:
            raise InputError(f"{self.title}: the frames of videos have no labels; use them as a target.")
        pairs = [
            Pair(f"{folder}/{path.stem}", path, None)
            for video, folder in self._folders()
            for path in find_frames(video, self.frames / folder, self.every, self.unreadable)
        ]
        if not pairs:
            raise InputError(f"{self.title}: none of the videos that match '{self.videos}' can be read.")
        pairs.sort(key=lambda pair: pair.name)
        return Listing(self.title, tuple(pairs), {}, self.classes, read_ids)

    def _folders(self) -> Iterator[tuple[Path, str]]:
        """Each video, and the folder of its frames."""
        for found in search_files(self.data_root, self.videos, f"videos of {self.title}").found:
            # Videos of one name but another suffix stay apart; so do other distances.
            yield found.path, f"{found.name}{found.path.suffix}-every-{self.every}"
