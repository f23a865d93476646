"""How many source images stay plain in online self-training, decided before it starts."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytorch_lightning as pl
import torch

from hiast.callbacks.colored_images import colored_images
from hiast.data import AdaptationDataModule
from hiast.evaluation.metrics import SegmentationMetrics
from hiast.training import OnlineModule

log = logging.getLogger(__name__)

MOST_IMAGES = 48
"""Source images that are looked at, evenly spaced over the set."""
LEAST_PLAIN = 0.5
"""Share of plain images where colors of the target confuse the network."""
FULL_LOSS = 0.2
"""Share of its mIoU that the network loses where it counts as confused; below, the share of plain images is larger."""


class FindPlainShare(pl.Callback):
    """Replaces ``views.plain="found"`` of an online module by a share that is measured when training starts.

    Source images are segmented as they are, and with the mean and deviation in CIE Lab of a target image. With
    r = 1 - mIoU after / mIoU before, the share is 1 - (1 - 0.5) * min(1, max(0, r) / 0.2): colors of the target that do
    not confuse the network need not be learned, and the source loss then sees images as they are. Images are held-out
    source images if there are any, training images otherwise. Labels of the target take no part. A run that resumes has
    the share in its checkpoint.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure, each process its share of the images, and tell the user what was found."""
        if not isinstance(pl_module, OnlineModule) or pl_module.views.plain != "found":
            return
        found = confusion(trainer, pl_module)
        share = plain_share(*found)
        log.info(
            "The mIoU on source images is %.1f, and %.1f in the colors of target images: the source loss sees %.0f %% "
            "of the source images as they are.",
            100 * found[0],
            100 * found[1],
            100 * share,
        )
        pl_module.views = replace(pl_module.views, plain=share)


def plain_share(before: float, after: float) -> float:
    """Share of source images that stay plain, 0.5..1, of the mIoU before and after the color transfer, each 0..1.

    Examples:
        >>> plain_share(0.8, 0.8), plain_share(0.8, 0.72), plain_share(0.8, 0.4)
        (1.0, 0.75, 0.5)
    """
    lost = 1 - after / before if before > 0 else 1.0
    return round(1 - (1 - LEAST_PLAIN) * min(1.0, max(0.0, lost) / FULL_LOSS), 4)


@torch.no_grad()
def confusion(trainer: pl.Trainer, module: OnlineModule) -> tuple[float, float]:
    """The mIoU, 0..1, of source images as they are, and in the colors of target images."""
    data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
    source = data.source.val_dataset() if data.source.has_val else data.source.train_dataset()
    target = data.labeling_images()
    metrics = [SegmentationMetrics(module.classes).to(module.device) for _ in range(2)]
    was_training = module.training
    module.eval()
    try:
        samples = colored_images(trainer, module, source, target, MOST_IMAGES, module.seed)
        for image, colored, label in samples:
            for metric, seen in zip(metrics, (image, colored), strict=True):
                with trainer.precision_plugin.forward_context():
                    found = module.read_out(seen, (label.shape[-2], label.shape[-1]))
                metric.update(found.labels, label)
    finally:
        module.train(was_training)
    before, after = (next(iter(metric.compute().means.values())) for metric in metrics)
    return before, after
