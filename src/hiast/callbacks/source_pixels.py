"""Class frequencies of the source, which balance the losses of online self-training."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from hiast.classes import IGNORED
from hiast.data import AdaptationDataModule, JoinedDataModule
from hiast.data.datasets.base import DatasetDataModule
from hiast.data.datasets.joined import JoinedDataset
from hiast.data.loading.segmentation import SegmentationDataset
from hiast.selection.samples import evenly_spaced
from hiast.training import OnlineModule

MOST_IMAGES = 256
"""Label maps that are counted, evenly spaced over the set."""


class SourcePixels(pl.Callback):
    """Counts the labeled source pixels of each class at the start of an online stage, if its losses need them.

    The counts are a buffer of the module: a run that resumes has them in its checkpoint.
    """

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count, unless nothing needs the counts or a checkpoint holds them. HPLA learns what the source lacks."""
        if not isinstance(pl_module, OnlineModule):
            return
        data: AdaptationDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if pl_module.hard_classes is not None:
            absent = set(range(len(pl_module.classes))) - data.source_classes
            pl_module.hard_classes.excluded = tuple(sorted(absent.union(pl_module.hard_classes.excluded)))
        if not pl_module.needs_source_pixels:
            return
        pl_module.set_source_pixels(torch.from_numpy(source_pixels(data.source)))


def source_pixels(source: DatasetDataModule | JoinedDataModule) -> NDArray[np.float64]:
    """Labeled pixels [C] of each class in up to ``MOST_IMAGES`` label maps.

    Where datasets are joined with weights, those of each are scaled so that their sums have the ratio of the weights:
    losses see crops of one size, as often as the weights say.
    """
    dataset = source.train_dataset()
    weights = source.weights if isinstance(source, JoinedDataModule) else None
    if weights is None or not isinstance(dataset, JoinedDataset):
        return _count(dataset, MOST_IMAGES)
    total = np.zeros(len(dataset.classes))
    for part, weight in zip(dataset.datasets, weights, strict=True):
        counts = _count(part, max(1, MOST_IMAGES // len(weights)))
        total += 1e9 * weight * counts / max(1.0, counts.sum())
    return total


def _count(dataset: SegmentationDataset | JoinedDataset, most: int) -> NDArray[np.float64]:
    counts = np.zeros(IGNORED + 1, np.int64)
    for index in evenly_spaced(len(dataset), most):
        counts += np.bincount(dataset.read_label(index).ravel(), minlength=IGNORED + 1)
    return counts[: len(dataset.classes)].astype(np.float64)
