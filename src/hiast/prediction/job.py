"""The work of hiast-predict: images and videos in, files out, resuming where an earlier call stopped."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hiast.classes import LabelSpace
from hiast.data.io.images import MAX_PIXELS, PLAIN_IMAGES, ImageReader
from hiast.data.io.listing import Pair
from hiast.errors import InputError
from hiast.evaluation.inference import Prediction
from hiast.prediction.inference import InferenceSettings, in_batches
from hiast.prediction.inputs import Inputs
from hiast.prediction.outputs import KINDS, Writer, overlay
from hiast.prediction.reading import read_or_advise
from hiast.prediction.records import Records
from hiast.prediction.video import VideoWriter, open_video

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]


class Model(Protocol):
    """What can predict: a module, or an exported file."""

    classes: LabelSpace

    def predict_arrays(self, images: Image, settings: InferenceSettings) -> list[Prediction]:
        """Predictions of images uint8 [B, H, W, 3] of one size."""
        ...


@dataclass
class Job:
    """One process's share of a prediction.

    Args:
        model: What predicts.
        settings: How it looks at images.
        writer: What is written.
        records: What is done.
        batch_size: Consecutive images of equal size, or frames, that go through the network together.
        skip_unreadable: Log images and videos that cannot be read, and continue; else they end the call.
        workers: Threads that read images ahead and write files; 0 is 1, since the network waits for neither.
        max_pixels: Larger images are refused.
        reader: Reads images.
        rank: This process.
        world_size: Number of processes; each takes every ``world_size``-th image and video.
    """

    model: Model
    settings: InferenceSettings
    writer: Writer
    records: Records
    batch_size: int = 1
    skip_unreadable: bool = False
    workers: int = 2
    max_pixels: int = MAX_PIXELS
    reader: ImageReader = PLAIN_IMAGES
    rank: int = 0
    world_size: int = 1

    def run(self, inputs: Inputs, progress: Callable[[int, int], None]) -> list[str]:
        """Predict what is not done yet.

        Args:
            inputs: All images and videos, of all processes.
            progress: Called with the images and videos of this process that are done, and their number.

        Returns:
            Why images and videos were left out, one sentence each.

        Raises:
            InputError: One cannot be read and ``skip_unreadable`` is not set.
        """
        left_out: list[str] = []
        images = inputs.images[self.rank :: self.world_size]
        videos = inputs.videos[self.rank :: self.world_size]
        total = len(images) + len(videos)
        waiting = [pair for pair in images if not self._image_done(pair)]
        finished = len(images) - len(waiting)
        progress(finished, total)
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            readable = self._readable(waiting, pool, left_out)
            for batch in in_batches(readable, self.batch_size, lambda item: item[1].shape):
                self._images(batch, pool)
                finished += len(batch)
                progress(finished + len(left_out), total)
        for number, video in enumerate(videos, 1):
            try:
                self._video(video)
            except InputError as error:
                if not self.skip_unreadable:
                    raise
                left_out.append(str(error))
            progress(len(images) + number, total)
        progress(total, total)
        return left_out

    def _image_done(self, pair: Pair) -> bool:
        there = all(path.is_file() for path in self.writer.paths(pair.name).values())
        return there and self.records.done(pair.name, pair.image)

    def _readable(
        self, pairs: Sequence[Pair], pool: ThreadPoolExecutor, left_out: list[str]
    ) -> Iterator[tuple[Pair, Image]]:
        """The images that can be read; why the others cannot is added to ``left_out``."""
        for pair, reading in self._read_ahead(pairs, pool):
            try:
                image = reading.result()
            except InputError as error:
                if not self.skip_unreadable:
                    raise
                left_out.append(str(error))
            else:
                yield pair, image

    def _read_ahead(
        self, pairs: Sequence[Pair], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Pair, Future[Image]]]:
        """Images in order, a few of them read ahead by the threads."""
        ahead: deque[tuple[Pair, Future[Image]]] = deque()
        for pair in pairs:
            ahead.append((pair, pool.submit(read_or_advise, self.reader, pair.image, self.max_pixels)))
            if len(ahead) > self.workers + self.batch_size:
                yield ahead.popleft()
        yield from ahead

    def _images(self, batch: list[tuple[Pair, Image]], pool: ThreadPoolExecutor) -> None:
        images = [image for _, image in batch]
        found = self.model.predict_arrays(np.stack(images), self.settings)
        # Recorded when all files are written, so that a record never promises too much.
        list(pool.map(self.writer.write, [pair.name for pair, _ in batch], images, found))
        for (pair, _), prediction in zip(batch, found, strict=True):
            self.records.add(pair.name, pair.image, prediction, len(self.model.classes))

    def _video(self, video: Pair) -> None:
        """Predict a video: its overlay as one MP4, the other outputs for each frame."""
        folder, opacity, kinds = self.writer.folder, self.writer.opacity, self.writer.kinds
        target = folder / "overlay" / f"{video.name}.mp4"
        marker = f"{video.name}/"
        per_frame = Writer(
            folder, tuple(k for k in kinds if k != "overlay"), self.writer.classes, self.writer.ids
        )
        written = self.records.frames(marker, video.image)
        if written is not None and ("overlay" not in kinds or target.is_file()):
            names = (_frame_name(video, number) for number in range(written))
            if all(path.is_file() for name in names for path in per_frame.paths(name).values()):
                return
        target.parent.mkdir(parents=True, exist_ok=True)
        done, last = 0, None
        with (
            open_video(video.image) as (facts, frames),
            VideoWriter(target, facts) if "overlay" in kinds else nullcontext() as out,
        ):
            for batch in in_batches(frames, self.batch_size, lambda frame: frame.image.shape):
                images = [frame.image for frame in batch]
                for frame, prediction in zip(
                    batch, self.model.predict_arrays(np.stack(images), self.settings), strict=True
                ):
                    if out is not None:
                        out.write(
                            overlay(frame.image, prediction.labels, self.writer.classes, opacity), frame.time
                        )
                    name = _frame_name(video, done)
                    per_frame.write(name, frame.image, prediction)
                    self.records.add(name, video.image, prediction, len(self.model.classes))
                    done, last = done + 1, prediction
        if last is None:
            raise InputError(f"{video.image} holds no frame that can be read.")
        if facts.frames and done < facts.frames * 0.98 - 2:
            log.warning("%s ends at frame %d of %d.", video.image, done, facts.frames)
        self._remove_frames(video, done)
        self.records.add(marker, video.image, last, len(self.model.classes), frames=done)

    def _remove_frames(self, video: Pair, first: int) -> None:
        """Remove what an earlier, longer file of the same name has left, from the frame ``first`` on."""
        everything = Writer(self.writer.folder, KINDS, self.writer.classes, self.writer.ids)
        for number in count(first):
            name = _frame_name(video, number)
            if name not in self.records.known:
                return
            for path in everything.paths(name).values():
                path.unlink(missing_ok=True)
            self.records.forget(name)


def _frame_name(video: Pair, number: int) -> str:
    return f"{video.name}/{number:08d}"
