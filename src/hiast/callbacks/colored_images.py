"""Labeled source images in the colors of target images, a stand-in for the labeled target images that nobody has."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
from torch import Tensor

from hiast.callbacks.sample_images import labeled_images, to_batch
from hiast.data.datasets.joined import JoinedDataset
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.online import ColorTransfer, generator_at
from hiast.selection.samples import evenly_spaced
from hiast.training import AdaptationModule

COLORS = ColorTransfer(probability=1.0)
"""Mean and deviation alone: a matched histogram would also measure that images differ in their shares of classes."""


def colored_images(
    trainer: pl.Trainer,
    module: AdaptationModule,
    source: SegmentationDataset | JoinedDataset,
    target: SegmentationDataset | JoinedDataset,
    count: int,
    seed: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """This process's share of ``count`` source images, each with the mean and deviation in CIE Lab of a target image.

    The target images are evenly spaced, and which one belongs to which source image depends on the counts alone.

    Yields:
        The image uint8 [1, 3, h, w] at validation size, the same in those colors, and its label uint8 [1, H, W].
    """
    number = len(evenly_spaced(len(source), count))
    references = np.linspace(0, len(target) - 1, number).round().astype(int).tolist()
    own = labeled_images(trainer, module, source, count)
    places = range(trainer.global_rank, number, trainer.world_size)
    for place, (image, label) in zip(places, own, strict=True):
        reference = to_batch(target.read_image(references[place]), module)
        yield image, COLORS(image, reference, generator_at(seed, place)), label
