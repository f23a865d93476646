"""Color masks of all validation images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from hiast.data.sample import Sample
from hiast.evaluation.masks import mask_path, write_mask
from hiast.training.module import AdaptationModule


class MaskWriter(pl.Callback):
    """Writes the prediction of each validation image as a palette PNG, at the relative path of the image.

    Args:
        folder: Folder of the masks.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the masks of one batch."""
        assert isinstance(pl_module, AdaptationModule)
        for name, labels in zip(batch["name"], outputs, strict=True):
            pixels = labels.cpu().numpy().astype(np.uint8)
            write_mask(mask_path(self.folder, name), pixels, pl_module.classes)
