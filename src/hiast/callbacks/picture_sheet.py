"""A sheet of pictures at each validation, to see what the scores mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.classes import IGNORED
from hiast.data.sample import Batch, Sample
from hiast.evaluation.pictures import Tile, heat, sheet, where_kept
from hiast.files import write_atomically
from hiast.training.module import AdaptationModule


class PictureSheet(pl.Callback):
    """Writes ``<stage>_<round>_<step>.png`` after each validation: image, prediction, label and confidence.

    Where training batches hold two views (self-training), a last row shows the latest one: weak view, strong view,
    pseudo-label, and the part of the image that is labeled. Only the first process draws, from its own share.

    Args:
        folder: Where the sheets go; made when the first one is written.
        count: Validation images on a sheet; 0 writes none.
    """

    def __init__(self, folder: Path | str, count: int = 4) -> None:
        self.folder = Path(folder)
        self.count = count
        self._rows: list[list[Tile]] = []
        self._training: Sample | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Remember the batch."""
        if self.count and trainer.is_global_zero and "strong" in batch.get("target", {}):
            self._training = batch["target"]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin a new sheet."""
        self._rows = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first images."""
        if (
            trainer.state.fn != "fit"
            or not trainer.is_global_zero
            or not isinstance(pl_module, AdaptationModule)
        ):
            return
        for position in range(min(len(batch["name"]), self.count - len(self._rows))):
            image, label = batch["image"][position], batch["label"][position]
            # Once more for a few images: the probabilities of all would be much to hand around.
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                probabilities = pl_module.probabilities(image[None], (label.shape[-2], label.shape[-1]))[0]
            confidence, prediction = probabilities.float().max(0)
            colors = pl_module.classes.colorize
            self._rows.append(
                [
                    Tile(_picture(image), batch["name"][position], smooth=True),
                    Tile(colors(_labels(prediction)), "prediction"),
                    Tile(colors(_labels(label)), "label"),
                    Tile(heat(confidence.cpu().numpy()), f"confidence, mean {float(confidence.mean()):.2f}"),
                ]
            )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the sheet."""
        rows, self._rows = self._rows, []
        if not rows or trainer.sanity_checking or not isinstance(pl_module, AdaptationModule):
            return
        if self._training is not None:
            rows.append(_training_row(self._training, pl_module))
        name = f"{pl_module.stage}_{pl_module.round_number}_{pl_module.steps_done:06d}.png"
        drawn = np.ascontiguousarray(sheet(rows, pl_module.classes)[..., ::-1])
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, cv2.imencode(".png", drawn)[1].tobytes())


def _training_row(batch: Sample, module: AdaptationModule) -> list[Tile]:
    weak, labels = _picture(batch["image"][0]), _labels(batch["label"][0])
    kept = float((labels != IGNORED).mean())
    return [
        Tile(weak, f"training: {batch['name'][0]}", smooth=True),
        Tile(_picture(batch["strong"][0]), "strong view, for the student", smooth=True),
        Tile(module.classes.colorize(labels), f"pseudo-label, {kept:.0%} kept"),
        Tile(where_kept(weak, labels), "weak view where labeled", smooth=True),
    ]


def _picture(image: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _labels(labels: Tensor) -> NDArray[np.uint8]:
    return labels.to(torch.uint8).cpu().numpy()
