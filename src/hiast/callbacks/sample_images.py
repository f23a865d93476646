"""Images that a network is measured on: evenly spaced, dealt out among the processes, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.data.datasets.joined import JoinedDataset
from hiast.data.geometry import resize_image
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.selection.samples import evenly_spaced
from hiast.training import AdaptationModule

BATCH_PIXELS = 512 * 1024
"""Pixels of the images of a batch at most, unless a single one has more: small images are faster in a batch, and the
probabilities of a batch stay as small as those of a large image."""

Sample = TypeVar("Sample", int, Tensor)


def own_indices(trainer: pl.Trainer, total: int, count: int) -> Sequence[int]:
    """This process's share of ``count`` of ``total`` images."""
    return evenly_spaced(total, count)[trainer.global_rank :: trainer.world_size]


def to_batch(image: NDArray[np.uint8], module: AdaptationModule) -> Tensor:
    """A batch uint8 [1, 3, h, w] at validation size, on the device of the module, of an image uint8 [H, W, 3]."""
    if module.validation_size:
        image = resize_image(image, *module.validation_size)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(module.device)


def labeled_images(
    trainer: pl.Trainer, module: AdaptationModule, dataset: SegmentationDataset | JoinedDataset, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of ``count`` images uint8 [1, 3, h, w] with their labels uint8 [1, H, W], one by one."""
    for index in own_indices(trainer, len(dataset), count):
        label = torch.from_numpy(np.ascontiguousarray(dataset.read_label(index)))[None]
        yield to_batch(dataset.read_image(index), module), label.to(module.device)


def labeled_batches(samples: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Images uint8 [B, 3, h, w] with their labels uint8 [B, H, W], of single ones in their order."""
    for batch in in_batches(samples):
        images, labels = zip(*batch, strict=True)
        yield torch.cat(images), torch.cat(labels)


def in_batches(samples: Iterable[tuple[Tensor, Sample]]) -> Iterator[list[tuple[Tensor, Sample]]]:
    """Successive images, each with what belongs to it, as long as they have the same size and few pixels.

    Args:
        samples: Images uint8 [1, 3, h, w], each with its label uint8 [1, H, W] or its index.

    Yields:
        At least one image; of equal size with labels of equal size; of ``BATCH_PIXELS`` at most unless it is one alone.
    """
    batch: list[tuple[Tensor, Sample]] = []
    for sample in samples:
        pixels = sample[0].shape[-2] * sample[0].shape[-1]
        if batch and (_shapes(sample) != _shapes(batch[0]) or (len(batch) + 1) * pixels > BATCH_PIXELS):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _shapes(sample: tuple[Tensor, int | Tensor]) -> tuple[torch.Size, ...]:
    return tuple(part.shape for part in sample if isinstance(part, Tensor))
