"""A dataset with the weak augmentation: what source_only and warmup train on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hiast.data.augmentation.weak import WeakAugmentation
from hiast.data.loading.segmentation import OpenImage, to_planes
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
        seed: Seed of the run.
        round: Round, 0 outside self-training.
        stream: Number of the random stream, different for each dataset of a run; not 0.
    """

    def __init__(
        self,
        dataset: Images,
        weak: WeakAugmentation,
        *,
        labeled: bool,
        seed: int,
        round: int = 0,
        stream: int = 1,
    ) -> None:
        self.dataset = dataset
        self.weak = weak
        self.labeled = labeled
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
            window, flip = self.weak.draw(rng, *size)
            pixels = image.read(window)
        sample: Sample = {
            "image": to_planes(self.weak.image(pixels, flip)),
            "name": self.dataset.names[draw.index],
        }
        if self.labeled:
            label = window.of(self.dataset.read_label(draw.index, size))
            sample["label"] = torch.from_numpy(self.weak.label(label, flip))
        return sample
