"""Statistics of batch normalization for the domain that a network is meant for."""

from __future__ import annotations

from collections.abc import Iterator

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hiast.callbacks.schedule import ValidationSchedule
from hiast.data import AdaptationDataModule
from hiast.data.geometry import resize_image
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.models import reestimate_bn_stats
from hiast.training import AdaptationModule

BATCH = 4
"""Images that go through the network together."""
MOST_IMAGES = 512
"""Images that are looked at in all, evenly spaced over the set; a mean over more of them hardly changes."""


class TargetStatistics(pl.Callback):
    """Estimates the statistics on target images before a validation and at a round's end, if the module asks for it.

    They follow from the weights and the images alone, so it makes no difference whether a run was interrupted.

    Args:
        schedule: Says where a validation follows.
    """

    def __init__(self, schedule: ValidationSchedule) -> None:
        self.schedule = schedule

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Estimate, unless training simply goes on, which normalizes by batches."""
        assert isinstance(pl_module, AdaptationModule)
        ends = pl_module.batches_done == pl_module.batches
        if pl_module.bn_statistics == "target" and (ends or self.schedule.follows(trainer, pl_module)):
            data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
            with trainer.precision_plugin.forward_context():
                estimate_on(pl_module.network, pl_module, data.labeling_images())


def estimate_on(network: nn.Module, module: AdaptationModule, images: SegmentationDataset) -> None:
    """Estimate the statistics of ``network`` on images as ``module`` sees them in validation."""
    reestimate_bn_stats(network, _batches(module, images))


def _batches(module: AdaptationModule, images: SegmentationDataset) -> Iterator[Tensor]:
    """Normalized images in batches that are the same in every process."""
    chosen = range(0, len(images), -(-len(images) // MOST_IMAGES))
    # Images that keep their sizes need not fit together.
    together = BATCH if module.validation_size else 1
    for first in range(0, len(chosen), together):
        read = [images.read_image(index) for index in chosen[first : first + together]]
        if module.validation_size:
            read = [resize_image(image, *module.validation_size) for image in read]
        batch = torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in read])
        yield module.prepare(batch.to(module.device))
