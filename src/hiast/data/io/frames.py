"""Extract every n-th frame of a video to PNG files, once; a record beside them lists what was extracted."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hiast.data.io.frame_record import Record, frame_path, identify, is_complete, read_record, write_record
from hiast.data.io.listing import Unreadable
from hiast.errors import InputError
from hiast.files import write_atomically

log = logging.getLogger(__name__)


_TOLERATED = Fraction(2, 100)
"""Share of the declared duration that may be missing: containers often state an estimate."""
_SECONDS = 15.0
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def extract_frames(
    video: Path | str, folder: Path | str, every: int = 30, unreadable: Unreadable = "stop"
) -> tuple[Path, ...]:
    """Write frames 0, every, 2 * every, ... of a video as PNG files, upright as a player shows them.

    Frames are counted as a player shows them: what an edit list hides does not count. Finished work is found again by
    the video's size and content; an interrupted extraction is resumed, and frames that were deleted are written again.

    Args:
        video: Any file that FFmpeg can read.
        folder: Folder for the frames; files are named by the number of the frame in the video.
        every: Distance of the frames, at least 1.
        unreadable: "stop": a damaged video is refused. "skip": damaged stretches are left out and logged; of a video
            that cannot be read at all nothing is left.

    Returns:
        The frames in order.

    Raises:
        InputError: The video is missing or damaged, the folder holds frames of something else or cannot be written, or
            PyAV is not installed.
    """
    video, folder = Path(video), Path(folder)
    wanted = identify(video, every)
    record = read_record(folder, wanted)
    if record is None or (record.error is None and not is_complete(record, folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_record(folder, wanted)
            record = _decode(video, folder, wanted)
            write_record(folder, record)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            raise InputError(
                f"The frames of {video} cannot be written to {folder} ({error.strerror}): set cache_folder in the "
                "dataset file to a folder that can be written."
            ) from error
    return _accepted(video, folder, record, unreadable)


def find_frames(
    video: Path | str, folder: Path | str, every: int = 30, unreadable: Unreadable = "stop"
) -> tuple[Path, ...]:
    """The frames that ``extract_frames`` has written; nothing is decoded or written.

    Raises:
        InputError: They are not there, or not all of them, or the video is damaged and ``unreadable`` is "stop".
    """
    video, folder = Path(video), Path(folder)
    record = read_record(folder, identify(video, every))
    if record is None or (record.frames is None and record.error is None):
        raise InputError(
            f"The frames of {video} are not extracted yet: call prepare_data(), as all commands do first."
        )
    if record.error is None and not is_complete(record, folder):
        raise InputError(
            f"Some of the frames of {video} in {folder} are missing: call prepare_data() to restore them."
        )
    return _accepted(video, folder, record, unreadable)


def _accepted(video: Path, folder: Path, record: Record, unreadable: Unreadable) -> tuple[Path, ...]:
    problem = record.error
    if record.damaged:
        stretches = ", ".join(
            f"{first} to {last}" if first < last else f"{first}" for first, last in record.damaged[:5]
        )
        more = f" and {len(record.damaged) - 5} more stretches" if len(record.damaged) > 5 else ""
        problem = f"{video} is damaged or cut off at frames {stretches}{more} of {record.frames}"
    if problem and unreadable == "stop":
        raise InputError(
            f"{problem}: fetch it again, or set data.unreadable=skip to do without the damaged part of videos."
        )
    if problem:
        log.warning("%s; this is left out.", problem)
    return tuple(frame_path(folder, number) for number in record.numbers())


def _decode(video: Path, folder: Path, wanted: Record) -> Record:
    """Write the frames that are missing; returns the finished record."""
    av = import_av()
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise InputError(f"{video} holds no video")
            frames, damaged = _write_frames(av, container, video, folder, wanted.every)
    except InputError as error:
        return Record(*wanted.identity, error=str(error))
    except av.error.FFmpegError as error:
        return Record(*wanted.identity, error=f"{video} cannot be opened as a video ({error.strerror})")
    log.info("%s: every %dth of %d frames written to %s.", video, wanted.every, frames, folder)
    return Record(*wanted.identity, frames, tuple(damaged))


def _write_frames(
    av: Any, container: Any, video: Path, folder: Path, every: int
) -> tuple[int, list[tuple[int, int]]]:
    """Number of frames, with those that are missing at the end, and the stretches that are damaged."""
    stream = container.streams.video[0]
    count, broken, logged = 0, False, time.monotonic()
    damaged: list[int] = []
    last = None
    for frame, whole in _frames(av, container, stream):
        # What is predicted from a damaged frame is damaged too, up to the next frame that stands for itself.
        broken = not whole or (broken and not (frame is not None and frame.key_frame))
        path = frame_path(folder, count)
        if broken:
            damaged.append(count)
        elif count % every == 0 and not path.exists():
            write_atomically(path, cv2.imencode(".png", _upright(frame))[1].tobytes())
        count, last = count + 1, frame or last
        if time.monotonic() - logged >= _SECONDS:
            logged = time.monotonic()
            log.info("%s: %d frames read.", video, count)
    missing = _missing_frames(container, stream, last, count)
    if last is None:
        raise InputError(f"{video} holds no frame that can be read")
    return count + missing, _stretches([*damaged, *range(count, count + missing)])


def _frames(av: Any, container: Any, stream: Any) -> Iterator[tuple[Any, bool]]:
    """Each frame and whether it is whole; None for a frame that cannot be decoded at all."""
    started = False
    packets = container.demux(stream)
    while True:
        try:
            decoded = next(packets).decode()
        except StopIteration:
            return
        except av.error.EOFError:
            continue
        except av.error.InvalidDataError:
            # A recording may start within a group of frames, whose first ones cannot be decoded.
            if started:
                yield None, False
            continue
        for frame in decoded:
            started = True
            yield frame, not frame.is_corrupt


def _missing_frames(container: Any, stream: Any, last: Any, count: int) -> int:
    """Number of frames between the last one and the end that the container declares; 0 if it declares none."""
    # In MP4 and MOV the number counts frames that an edit list hides, and the duration does not.
    if stream.frames and "mov" not in container.format.name:
        missing = stream.frames - count
        return missing if missing > stream.frames * _TOLERATED + 2 else 0
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if stream.duration is not None:
        declared = stream.duration * stream.time_base
    elif container.duration is not None and len(container.streams) == 1:
        declared = Fraction(container.duration, 1_000_000)
    else:
        return 0
    if last is None or last.pts is None:
        end = count / rate
    else:
        end = (last.pts - (stream.start_time or 0)) * stream.time_base + 1 / rate
    behind = declared - end
    return int(behind * rate) if behind > declared * _TOLERATED + 2 / rate else 0


def _upright(frame: Any) -> NDArray[np.uint8]:
    """The frame as a player shows it, uint8 [H, W, 3] in OpenCV's order blue, green, red."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="bgr24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _stretches(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def import_av() -> Any:
    """PyAV, which writes nothing to the terminal.

    Raises:
        InputError: It is not installed.
    """
    try:
        av = import_module("av")
    except ImportError as error:
        raise InputError("Videos need PyAV: pip install 'hiast[video]'.") from error
    av.logging.set_level(None)
    return av
