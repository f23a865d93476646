"""Class frequencies of the source, which balance the losses of online self-training."""

from __future__ import annotations

import numpy as np
import pytorch_lightning as pl
import torch

from hiast.classes import IGNORED
from hiast.data import AdaptationDataModule
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
        dataset = data.source.train_dataset()
        counts = np.zeros(IGNORED + 1, np.int64)
        for index in evenly_spaced(len(dataset), MOST_IMAGES):
            counts += np.bincount(dataset.read_label(index).ravel(), minlength=IGNORED + 1)
        pl_module.set_source_pixels(torch.from_numpy(counts[: len(pl_module.classes)]))
