"""Images that a network is measured on: evenly spaced, dealt out among the processes, at validation size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def own_indices(trainer: pl.Trainer, total: int, count: int) -> Sequence[int]:
    """This process's share of ``count`` of ``total`` images."""
    return evenly_spaced(total, count)[trainer.global_rank :: trainer.world_size]


def to_batch(image: NDArray[np.uint8], module: AdaptationModule) -> Tensor:
    """A batch uint8 [1, 3, h, w] at validation size, on the device of the module, of an image uint8 [H, W, 3]."""
    if module.validation_size:
        image = resize_image(image, *module.validation_size)
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(module.device)


def labeled_batches(
    trainer: pl.Trainer, module: AdaptationModule, dataset: SegmentationDataset | JoinedDataset, count: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of ``count`` images with their labels uint8 [1, H, W], one by one."""
    for index in own_indices(trainer, len(dataset), count):
        label = torch.from_numpy(np.ascontiguousarray(dataset.read_label(index)))[None]
        yield to_batch(dataset.read_image(index), module), label.to(module.device)
