"""A sheet of pictures at each validation."""

from __future__ import annotations

from dataclasses import dataclass
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
from hiast.evaluation.pictures import Row, Tile, heat, sheet, where_kept
from hiast.files import write_atomically
from hiast.training.module import AdaptationModule


@dataclass(frozen=True)
class _Shown:
    """A validation image of the sheet.

    Attributes:
        image: uint8 [3, H, W].
        label: uint8 [H, W].
        caption: Text above the image.
        error: Share of the labeled pixels that are predicted wrong.
    """

    image: Tensor
    label: Tensor
    caption: str
    error: float = 0.0


class PictureSheet(pl.Callback):
    """Writes ``<stage>_<round>_<step>.png`` after each validation: image, prediction, label and confidence.

    Half of the images are spread evenly over the validation set and are the same on every sheet. The other half are
    the images with the largest share of wrong pixels in this validation, the worst first. Rank zero draws images of
    its own share of the set. If training batches have two views (self-training), a last row shows the latest batch:
    weak view, strong view, pseudo-label, and the labeled part of the image.

    Args:
        folder: Folder of the sheets; made when the first one is written.
        count: Number of validation images on a sheet; 0: no sheets are written.
    """

    def __init__(self, folder: Path | str, count: int = 4) -> None:
        self.folder = Path(folder)
        self.count = count
        self._places: frozenset[int] = frozenset()
        self._spread: list[_Shown] = []
        self._hard: list[_Shown] = []
        self._training: Sample | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Remember the batch."""
        if self.count and trainer.is_global_zero and "strong" in batch.get("target", {}):
            self._training = batch["target"]

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start a new sheet."""
        self._spread, self._hard = [], []
        batches = int(sum(trainer.num_val_batches))
        count = self.count if batches <= self.count else -(-self.count // 2)
        self._places = spread_places(batches, count)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the images of the batch that belong on the sheet."""
        if trainer.state.fn != "fit" or not trainer.is_global_zero or not self.count:
            return
        for position, name in enumerate(batch["name"]):
            image, label = batch["image"][position], batch["label"][position]
            if batch_idx in self._places and position == 0:
                self._spread.append(_Shown(image, label, name))
            else:
                self._keep_if_hard(image, label, outputs[position], name)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the sheet."""
        shown, self._spread, self._hard = [*self._spread, *self._hard], [], []
        if not shown or trainer.sanity_checking or not isinstance(pl_module, AdaptationModule):
            return
        rows = [_validation_row(one, trainer, pl_module) for one in shown]
        if self._training is not None:
            rows.append(_training_row(self._training, pl_module))
        name = f"{pl_module.stage}_{pl_module.round_number}_{pl_module.steps_done:06d}.png"
        drawn = np.ascontiguousarray(sheet(rows, pl_module.classes)[..., ::-1])
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / name, cv2.imencode(".png", drawn)[1].tobytes())

    def _keep_if_hard(self, image: Tensor, label: Tensor, prediction: Tensor, name: str) -> None:
        room = self.count - len(self._places)
        labeled = label != IGNORED
        pixels = int(labeled.sum())
        if room <= 0 or not pixels:
            return
        error = int(((prediction != label) & labeled).sum()) / pixels
        if len(self._hard) < room or error > self._hard[-1].error:
            shown = _Shown(image, label, f"{error:.0%} wrong: {name}", error)
            self._hard = sorted([*self._hard, shown], key=lambda one: -one.error)[:room]


def spread_places(total: int, count: int) -> frozenset[int]:
    """``count`` places spread evenly over 0 .. total - 1, both ends included; all places if there are fewer."""
    if total <= 0 or count <= 0:
        return frozenset()
    return frozenset(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())


def _validation_row(shown: _Shown, trainer: pl.Trainer, module: AdaptationModule) -> Row:
    size = (shown.label.shape[-2], shown.label.shape[-1])
    # The network runs once more for a few images: passing on the probabilities of all images would cost more.
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        probabilities = module.probabilities(shown.image[None], size)[0]
    confidence, prediction = probabilities.float().max(0)
    colors = module.classes.colorize
    return Row(
        [
            Tile(_picture(shown.image), shown.caption, smooth=True),
            Tile(colors(_labels(prediction)), "prediction"),
            Tile(colors(_labels(shown.label)), "label"),
            Tile(heat(confidence.cpu().numpy()), f"confidence, mean {float(confidence.mean()):.2f}"),
        ]
    )


def _training_row(batch: Sample, module: AdaptationModule) -> Row:
    weak, labels = _picture(batch["image"][0]), _labels(batch["label"][0])
    kept = float((labels != IGNORED).mean())
    return Row(
        [
            Tile(weak, f"training: {batch['name'][0]}", smooth=True),
            Tile(_picture(batch["strong"][0]), "strong view, for the student", smooth=True),
            Tile(module.classes.colorize(labels), f"pseudo-label, {kept:.0%} kept"),
            Tile(where_kept(weak, labels), "weak view where labeled", smooth=True),
        ]
    )


def _picture(image: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())


def _labels(labels: Tensor) -> NDArray[np.uint8]:
    return labels.to(torch.uint8).cpu().numpy()
