"""Reading, prediction and writing of label maps, which run at the same time in threads of their own.

Each step receives futures of the step before, so that an error reaches the code that waits for the result. The caller
decides how far the steps may run ahead of each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.pseudo_labels.class_statistics import kept
from hiast.pseudo_labels.histogram import Histogram, count, smallest_confidence
from hiast.pseudo_labels.journal import LabelRecord
from hiast.pseudo_labels.policies import Thresholds
from hiast.pseudo_labels.round_files import write_label
from hiast.pseudo_labels.round_reader import RoundReader
from hiast.pseudo_labels.select import keep

ReadImage = Callable[[int], NDArray[np.uint8]]
Predict = Callable[[Tensor], tuple[Tensor, Tensor]]
Unreadable = Literal["stop", "skip"]
Size = tuple[int, int]


@dataclass(frozen=True)
class LabelingSettings:
    """How images become label maps.

    Attributes:
        num_classes: C.
        network_size: (height, width) at which the network sees the images; None: each at its own size.
        at_image_size: Store each label map at the size of its image, enlarged or reduced by nearest neighbor, as
            training does when it reads a map of another size.
        unreadable: "stop": an image that cannot be read stops the labeling. "skip": it is left out.
        previous: An earlier round to compare the labels with.
    """

    num_classes: int
    network_size: Size | None
    at_image_size: bool = False
    unreadable: Unreadable = "stop"
    previous: RoundReader | None = None


@dataclass(frozen=True)
class GroupOutput:
    """The network's output for the images of a group that could be read.

    Attributes:
        confidence: float [b, h, w].
        prediction: uint8 [b, h, w].
        counts: int32 [C, codes], the group's histogram, if one was asked for.
        sizes: (height, width) of each image before resizing.
        places: Place of each image in the group.
        unreadable: Place in the group -> why that image could not be read.
    """

    confidence: Tensor
    prediction: Tensor
    counts: NDArray[np.int32] | None
    sizes: tuple[Size, ...]
    places: tuple[int, ...]
    unreadable: dict[int, str]


@dataclass(frozen=True)
class GroupLabels:
    """The written labels of a group, and the names of the images that could not be read with the reason."""

    records: tuple[LabelRecord, ...]
    skipped: dict[str, str]


@dataclass(frozen=True)
class _Image:
    """An image as the network sees it, uint8 [h, w, 3], and its own size; or why it could not be read."""

    pixels: NDArray[np.uint8] | None
    size: Size
    error: str = ""


class LabelPipeline:
    """The threads that read images, run the network, and write labels. Use it as a context manager.

    Args:
        read_image: Index -> RGB uint8 [H, W, 3]; called in several threads.
        predict: Images uint8 [b, 3, h, w] -> confidence [b, h, w] and prediction [b, h, w]; called in one thread.
        settings: How images become label maps.
        readers: Threads that read and resize images.
        writers: Threads that select, encode and write labels.
    """

    def __init__(
        self, read_image: ReadImage, predict: Predict, settings: LabelingSettings, readers: int, writers: int
    ) -> None:
        self._read_image, self._predict, self._settings = read_image, predict, settings
        # The current CUDA device is a property of the thread.
        setup = None
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            setup = partial(torch.cuda.set_device, torch.cuda.current_device())
        self._reader = ThreadPoolExecutor(readers, "read", initializer=setup)
        self._predictor = ThreadPoolExecutor(1, "predict", initializer=setup)
        self._writer = ThreadPoolExecutor(writers, "write", initializer=setup)

    def __enter__(self) -> LabelPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for pool in (self._reader, self._predictor, self._writer):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._reader, self._predictor, self._writer):
            pool.shutdown(wait=True)

    def outputs(
        self, groups: Iterable[Sequence[int]], every: int | None, ahead: int
    ) -> Iterator[Future[GroupOutput]]:
        """Read and predict groups of images, some groups ahead of the one that is taken.

        Args:
            groups: Image indices of each group.
            every: Count every n-th pixel of each class in the histogram; None: no histogram.
            ahead: Groups read or predicted ahead, at least 1.
        """
        waiting: deque[Future[GroupOutput]] = deque()
        for group in groups:
            images = [self._reader.submit(self._read, index) for index in group]
            waiting.append(self._predictor.submit(self._run, images, every))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting

    def write(
        self,
        directory: Path,
        names: Sequence[str],
        output: Future[GroupOutput],
        thresholds: Thresholds | None,
    ) -> Future[GroupLabels]:
        """Select the labels of a group by the thresholds and write them."""
        return self._writer.submit(self._write, directory, names, output, thresholds)

    def _read(self, index: int) -> _Image:
        try:
            image = self._read_image(index)
        except InputError as error:
            if self._settings.unreadable == "stop":
                raise
            return _Image(None, (0, 0), str(error))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"Image {index} must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}.")
        own = (image.shape[0], image.shape[1])
        height, width = self._settings.network_size or own
        if own != (height, width):
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            return _Image(np.asarray(resized, np.uint8), own)
        return _Image(image, own)

    @torch.no_grad()
    def _run(self, futures: Sequence[Future[_Image]], every: int | None) -> GroupOutput:
        images = [future.result() for future in futures]
        unreadable = {place: image.error for place, image in enumerate(images) if image.pixels is None}
        places = tuple(place for place in range(len(images)) if place not in unreadable)
        pixels = [image.pixels for image in images if image.pixels is not None]
        confidence, prediction = self._predicted(pixels)
        counts = self._checked(confidence, prediction, every)
        sizes = tuple(images[place].size for place in places)
        return GroupOutput(confidence, prediction.to(torch.uint8), counts, sizes, places, unreadable)

    def _predicted(self, images: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Confidence and prediction of images of one size."""
        if not images:
            return torch.ones(0, 1, 1), torch.zeros(0, 1, 1, dtype=torch.uint8)
        sizes = {image.shape[:2] for image in images}
        if len(sizes) > 1:
            raise InputError(
                f"Images of a group differ in size ({_shown(sizes)}) and are not resized: use group_size=1, or "
                "give the size at which the network sees them."
            )
        batch = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
        confidence, prediction = self._predict(torch.from_numpy(batch))
        expected = [len(images), *images[0].shape[:2]]
        if list(confidence.shape) != expected:
            raise InputError(
                f"The network's confidence must have the shape {expected}, not {list(confidence.shape)}."
            )
        return confidence, prediction

    def _checked(self, confidence: Tensor, prediction: Tensor, every: int | None) -> NDArray[np.int32] | None:
        """Check the network's output and count it, if that is asked for."""
        classes = self._settings.num_classes
        if every is None:
            smallest_confidence(confidence, prediction, classes)
            return None
        counts = count(confidence, prediction, classes, every).counts
        if counts.shape != Histogram.empty(classes).counts.shape:
            raise InputError(
                f"The network's smallest confidence is below 1/{classes}: it must be the largest of the "
                f"{classes} class probabilities."
            )
        return counts.astype(np.int32)

    @torch.no_grad()
    def _write(
        self,
        directory: Path,
        names: Sequence[str],
        output: Future[GroupOutput],
        thresholds: Thresholds | None,
    ) -> GroupLabels:
        result = output.result()
        labels = keep(result.confidence, result.prediction, thresholds)
        pixels, sums = kept(result.confidence, labels, self._settings.num_classes)
        records = []
        for place, label, size, p, s in zip(
            result.places, labels.cpu().numpy(), result.sizes, pixels, sums, strict=True
        ):
            stored = label
            if self._settings.at_image_size and label.shape != size:
                stored = np.asarray(cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
            sha256 = write_label(directory, names[place], stored)
            shape = (stored.shape[0], stored.shape[1])
            overlap = self._overlap(names[place], stored)
            records.append(
                LabelRecord(names[place], sha256, shape, tuple(p.tolist()), tuple(s.tolist()), overlap)
            )
        return GroupLabels(
            tuple(records), {names[place]: reason for place, reason in result.unreadable.items()}
        )

    def _overlap(self, name: str, label: NDArray[np.uint8]) -> tuple[int, int] | None:
        """Pixels with the same label in the previous round, and pixels that either round keeps."""
        previous = self._settings.previous
        if previous is None or not previous.has(name):
            return None
        before = previous.label(name)
        if before.shape != label.shape:
            return None
        kept = label != IGNORED
        either = int(np.count_nonzero(kept | (before != IGNORED)))
        return int(np.count_nonzero(kept & (label == before))), either


def _shown(sizes: Iterable[tuple[int, ...]]) -> str:
    return ", ".join(f"{width} x {height}" for height, width in sorted(sizes))
