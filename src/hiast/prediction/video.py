"""Frames of a video upright in the order in which they are shown, and an MP4 of pictures with the same times."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.frames import import_av
from hiast.errors import InputError

CODEC = "libx264"
"""H.264 with 4:2:0 colors in an MP4 that starts with its index: what browsers and players show without a plugin."""


@dataclass(frozen=True)
class VideoFacts:
    """What a video declares.

    Attributes:
        rate: Frames per second.
        time_base: Unit of the frames' times in seconds.
        frames: Number of frames; 0: it is not declared.
    """

    rate: Fraction
    time_base: Fraction
    frames: int


@dataclass(frozen=True)
class Frame:
    """A frame as a player shows it.

    Attributes:
        image: uint8 [H, W, 3], RGB, turned upright.
        time: Time in units of the video's time base; None: it is not stored.
    """

    image: NDArray[np.uint8]
    time: int | None


@contextmanager
def open_video(path: Path) -> Iterator[tuple[VideoFacts, Iterator[Frame]]]:
    """Facts and frames of a video.

    Raises:
        InputError: The file is not a video, or is damaged, or PyAV is missing.
    """
    with _reading(path):
        container = import_av().open(str(path))
    with container:
        if not container.streams.video:
            raise InputError(f"{path} holds no video.")
        stream = container.streams.video[0]
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        yield (
            VideoFacts(rate, Fraction(stream.time_base), int(stream.frames)),
            _frames(container, stream, path),
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of an error within that the video cannot be read."""
    try:
        yield
    except import_av().error.FFmpegError as error:
        raise InputError(
            f"{path} cannot be read as a video ({error.strerror}): fetch it again or convert it."
        ) from error


def _frames(container: Any, stream: Any, path: Path) -> Iterator[Frame]:
    decoded = container.decode(stream)
    while True:
        with _reading(path):
            frame = next(decoded, None)
            if frame is None:
                return
            pixels = frame.to_ndarray(format="rgb24")
        yield Frame(np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90))), frame.pts)


class VideoWriter:
    """An MP4 (H.264) that takes its place when all is written; use it as a context manager.

    Args:
        path: The file; its folder exists.
        facts: Facts of the source video, whose rate and times are kept.
    """

    def __init__(self, path: Path, facts: VideoFacts) -> None:
        self.path = path
        self.facts = facts
        self._beside = path.with_name(f".{path.name}.{uuid4().hex}.part")
        self._container: Any = None
        self._stream: Any = None
        self._last = -1

    def __enter__(self) -> VideoWriter:
        self._container = import_av().open(
            str(self._beside), "w", format="mp4", options={"movflags": "+faststart"}
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._writing():
                if kind is None and self._stream is not None:
                    self._container.mux(self._stream.encode(None))
                self._container.close()
            if kind is None and self._stream is not None:
                self._beside.replace(self.path)
        finally:
            self._beside.unlink(missing_ok=True)

    def write(self, picture: NDArray[np.uint8], time: int | None) -> None:
        """Append a picture uint8 [H, W, 3] RGB that is shown at ``time``, in units of the video's time base."""
        av = import_av()
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
        if self._stream is None:
            self._stream = self._container.add_stream(CODEC, rate=self.facts.rate)
            self._stream.width, self._stream.height = max(2, width), max(2, height)
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = self._stream.codec_context.time_base = self.facts.time_base
            self._stream.options = {"crf": "20", "preset": "veryfast"}
        # Colors are stored for two by two pixels, so that an odd last row or column is left out.
        if (height, width) != picture.shape[:2]:
            pads = ((0, max(0, 2 - picture.shape[0])), (0, max(0, 2 - picture.shape[1])), (0, 0))
            picture = np.pad(picture, pads, mode="edge")[: self._stream.height, : self._stream.width]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        step = max(1, round(1 / (self.facts.rate * self.facts.time_base)))
        self._last = (
            max(self._last + 1, time) if time is not None else self._last + (step if self._last >= 0 else 1)
        )
        frame.pts, frame.time_base = self._last, self.facts.time_base
        with self._writing():
            self._container.mux(self._stream.encode(frame))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise the errors of the operating system, such as a full disk, as what they are."""
        try:
            yield
        except import_av().error.FFmpegError as error:
            if error.errno not in errno.errorcode:
                raise
            raise OSError(error.errno, error.strerror, str(self.path)) from error
