"""A dataset with the weak augmentation: what source_only and warmup train on."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hiast.data.augmentation.weak import WeakAugmentation
from hiast.data.geometry import Window
from hiast.data.loading.segmentation import to_planes
from hiast.data.random_streams import Stream
from hiast.data.sample import Draw, Sample


class Images(Protocol):
    """The part of a dataset that is read here; labels only if they are wanted."""

    names: tuple[str, ...]

    def __len__(self) -> int: ...

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image."""
        ...

    def read_image_window(self, index: int, window: Window) -> NDArray[np.uint8]:
        """A window of an image, uint8 [h, w, 3]."""
        ...

    def read_label(self, index: int) -> NDArray[np.uint8]:
        """Classes uint8 [H, W] of an image."""
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
        stream: Stream of the random draws; several datasets of one run need different ones.
    """

    def __init__(
        self,
        dataset: Images,
        weak: WeakAugmentation,
        *,
        labeled: bool,
        seed: int,
        round: int = 0,
        stream: Stream = Stream.SINGLE_CROP,
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
        window, flip = self.weak.draw(rng, *self.dataset.image_size(draw.index))
        pixels = self.dataset.read_image_window(draw.index, window)
        sample: Sample = {
            "image": to_planes(self.weak.image(pixels, flip)),
            "name": self.dataset.names[draw.index],
        }
        if self.labeled:
            label = window.of(self.dataset.read_label(draw.index))
            sample["label"] = torch.from_numpy(self.weak.label(label, flip))
        return sample
