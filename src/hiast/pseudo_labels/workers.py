"""Reading, network, and label writing as stages that run at the same time.

Each stage works in threads of its own and is handed futures of the stage before it, so that an error travels down to
whoever waits for the result. How far the stages may run ahead is up to who submits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.errors import InputError
from hiast.pseudo_labels.class_statistics import kept
from hiast.pseudo_labels.histogram import Histogram, count, smallest_confidence
from hiast.pseudo_labels.policies import Thresholds
from hiast.pseudo_labels.round_reader import write_label
from hiast.pseudo_labels.round_writer import LabelRecord
from hiast.pseudo_labels.select import keep

ReadImage = Callable[[int], NDArray[np.uint8]]
Predict = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Output:
    """What the network says about a group.

    Attributes:
        confidence: float [b, h, w].
        prediction: uint8 [b, h, w].
        counts: int32 [C, codes], the group's histogram, where it is asked for.
    """

    confidence: Tensor
    prediction: Tensor
    counts: NDArray[np.int32] | None


class Stages:
    """The threads of the three stages. Use it as a context manager."""

    def __init__(
        self,
        read_image: ReadImage,
        predict: Predict,
        size: tuple[int, int],
        num_classes: int,
        readers: int,
        writers: int,
    ) -> None:
        """Start nothing yet.

        Args:
            read_image: Index -> uint8 [H, W, 3].
            predict: uint8 [b, 3, h, w] -> confidence [b, h, w] and prediction [b, h, w]; called in one thread.
            size: (h, w) to label at.
            num_classes: C.
            readers: Threads that read and resize images.
            writers: Threads that select, encode and write labels.
        """
        self._read_image, self._predict, self._size, self._num_classes = (
            read_image,
            predict,
            size,
            num_classes,
        )
        # The current CUDA device is a property of the thread.
        setup = None
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            setup = partial(torch.cuda.set_device, torch.cuda.current_device())
        self._readers = ThreadPoolExecutor(readers, "read", initializer=setup)
        self._network = ThreadPoolExecutor(1, "network", initializer=setup)
        self._writers = ThreadPoolExecutor(writers, "write", initializer=setup)

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for pool in (self._readers, self._network, self._writers):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._readers, self._network, self._writers):
            pool.shutdown(wait=True)

    def outputs(
        self, groups: Iterable[Sequence[int]], every: int | None, depth: int
    ) -> Iterator[Future[Output]]:
        """Run the network over groups of image indices, ``depth`` groups ahead of whoever takes the results.

        Args:
            groups: Image indices per group.
            every: Count every n-th pixel of each class; None: no histogram.
            depth: Groups read or labeled ahead, 1 or more.
        """
        waiting: deque[Future[Output]] = deque()
        for group in groups:
            images = [self._readers.submit(self._read, index) for index in group]
            waiting.append(self._network.submit(self._run, images, every))
            if len(waiting) > depth:
                yield waiting.popleft()
        yield from waiting

    def write(
        self, directory: Path, names: Sequence[str], output: Future[Output], thresholds: Thresholds | None
    ) -> Future[list[LabelRecord]]:
        """Select the labels of a group and write them."""
        return self._writers.submit(self._write, directory, names, output, thresholds)

    def _read(self, index: int) -> NDArray[np.uint8]:
        image = self._read_image(index)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"Image {index} must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}.")
        height, width = self._size
        if image.shape[:2] == self._size:
            return image
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)

    @torch.no_grad()
    def _run(self, images: Sequence[Future[NDArray[np.uint8]]], every: int | None) -> Output:
        batch = np.stack([image.result() for image in images]).transpose(0, 3, 1, 2)
        confidence, prediction = self._predict(torch.from_numpy(np.ascontiguousarray(batch)))
        if confidence.shape != (len(images), *self._size):
            raise InputError(
                f"The network's confidence must have the shape {[len(images), *self._size]}, not "
                f"{list(confidence.shape)}."
            )
        if every is None:
            smallest_confidence(confidence, prediction, self._num_classes)
            return Output(confidence, prediction.to(torch.uint8), None)
        counts = count(confidence, prediction, self._num_classes, every).counts
        if counts.shape != Histogram.empty(self._num_classes).counts.shape:
            raise InputError(
                f"The network's smallest confidence is below 1/{self._num_classes}: it must be the largest of the "
                f"{self._num_classes} class probabilities."
            )
        return Output(confidence, prediction.to(torch.uint8), counts.astype(np.int32))

    @torch.no_grad()
    def _write(
        self, directory: Path, names: Sequence[str], output: Future[Output], thresholds: Thresholds | None
    ) -> list[LabelRecord]:
        result = output.result()
        labels = keep(result.confidence, result.prediction, thresholds)
        pixels, sums = kept(result.confidence, labels, self._num_classes)
        return [
            LabelRecord(name, write_label(directory, name, label), tuple(p.tolist()), tuple(s.tolist()))
            for name, label, p, s in zip(names, labels.cpu().numpy(), pixels, sums, strict=True)
        ]
