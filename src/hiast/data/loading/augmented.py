"""A dataset with the weak augmentation: what source_only and warmup train on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import chain, count
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hiast.data.augmentation.weak import CropAndFlip, WeakAugmentation
from hiast.data.loading.sampler import IndexOrder
from hiast.data.loading.segmentation import OpenImage, to_planes
from hiast.data.random_streams import Stream
from hiast.data.sample import Draw, Sample


class Images(Protocol):
    """The part of a dataset that is used here; labels are read only if they are wanted."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def open_image(self, index: int) -> AbstractContextManager[OpenImage]:
        """Open an image for its size and for windows of its pixels."""
        ...

    def read_label(self, index: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Classes uint8 [H, W] of an image of a known size."""
        ...


class AugmentedDataset(Dataset[Sample]):
    """Weakly augmented images, with labels if wanted.

    A sample's random draws are functions of (seed, round, position, stream) and of nothing else.

    Args:
        dataset: Images and labels.
        weak: Crop and flip.
        labeled: Read labels; False: no label file is opened.
        placed: Also give the place of each crop in its image: ``window``, ``image_size`` and ``flipped``.
        order: Chooses the crop of a labeled image among several; None takes the first that is drawn.
        seed: Seed of the run.
        round: Round, 0 outside self-training.
        stream: Stream of the random draws; several datasets of one run need different ones.
    """

    def __init__(
        self,
        dataset: Images,
        weak: WeakAugmentation,
        *,
        labeled: bool,
        placed: bool = False,
        order: IndexOrder | None = None,
        seed: int,
        round: int = 0,
        stream: Stream = Stream.SINGLE_CROP,
    ) -> None:
        self.dataset = dataset
        self.weak = weak
        self.labeled = labeled
        self.placed = placed
        self.order = order
        self.key = (seed, round)
        self.stream = stream

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: Draw) -> Sample:
        """The sample of one request: image uint8 [3, h, w], name, and label uint8 [h, w] if wanted.

        Raises:
            InputError: A file cannot be read.
        """
        rng = np.random.default_rng([*self.key, draw.position, self.stream])
        with self.dataset.open_image(draw.index) as image:
            size = image.size
            labels = self.dataset.read_label(draw.index, size) if self.labeled else None
            window, flip = self._draw(rng, draw.index, size, labels)
            pixels = image.read(window)
        sample: Sample = {
            "image": to_planes(self.weak.image(pixels, flip)),
            "name": self.dataset.names[draw.index],
        }
        if self.placed:
            sample["window"] = torch.tensor(window, dtype=torch.float32)
            sample["image_size"] = torch.tensor(size, dtype=torch.float32)
            sample["flipped"] = torch.tensor(flip)
        if labels is not None:
            sample["label"] = torch.from_numpy(self.weak.label(window.of(labels), flip))
        return sample

    def _draw(
        self, rng: np.random.Generator, index: int, size: tuple[int, int], labels: NDArray[np.uint8] | None
    ) -> CropAndFlip:
        view = self.weak.draw(rng, *size)
        if self.order is None or labels is None:
            return view
        windows = chain([view.window], (self.weak.draw(rng, *size).window for _ in count()))
        return CropAndFlip(self.order.choose_window(index, labels, windows, rng), view.flip)
