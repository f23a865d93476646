"""What the last validation of each round found, for the report: the confusion matrix, the worst and the best images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import Tensor

from hiast.callbacks.warn_on_error import warn_on_error
from hiast.classes import IGNORED, LabelSpace
from hiast.data.geometry import resize_labels
from hiast.data.sample import Sample
from hiast.evaluation.metrics import Scores
from hiast.evaluation.pictures import fitted, jpeg, label_png, resized
from hiast.files import write_json
from hiast.pages import data_uri
from hiast.report.files import FORMAT, validation_path
from hiast.training.module import AdaptationModule


@dataclass(frozen=True)
class _Seen:
    """A validation image, at the size of the page.

    Attributes:
        name: Its name.
        wrong: Share of the labeled pixels that are predicted wrong, 0..1.
        image: uint8 [H, W, 3].
        label: uint8 [H, W].
        prediction: uint8 [H, W].
    """

    name: str
    wrong: float
    image: NDArray[np.uint8]
    label: NDArray[np.uint8]
    prediction: NDArray[np.uint8]

    def to_dict(self, classes: LabelSpace) -> dict[str, Any]:
        return {
            "name": self.name,
            "wrong": self.wrong,
            "image": data_uri(jpeg(self.image), "jpeg"),
            "label": data_uri(label_png(self.label, classes), "png"),
            "prediction": data_uri(label_png(self.prediction, classes), "png"),
        }


class ValidationRecord(pl.Callback):
    """Writes ``STAGE/validation_N.json`` after each validation of round N; the last one stays.

    On several devices the images are those of rank zero, the confusion matrix that of all.

    Args:
        directory: The run directory.
        count: Number of worst and of best images; 0: nothing but the matrix.
    """

    def __init__(self, directory: Path, count: int = 6) -> None:
        self.directory = directory
        self.count = count
        self._worst: list[_Seen] = []
        self._best: list[_Seen] = []
        self._images = 0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start anew."""
        self._worst, self._best, self._images = [], [], 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Sample,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the images of the batch that are among the worst or the best."""
        if not trainer.is_global_zero:
            return
        for position, name in enumerate(batch["name"]):
            self._images += 1
            image, label = batch["image"][position], batch["label"][position]
            wrong = wrong_share(outputs[position], label)
            if wrong is not None and self.count:
                self._keep(name, wrong, image, label, outputs[position])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the record."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, AdaptationModule) or pl_module.scores is None:
            return
        with warn_on_error("The record of the validation"):
            self._write(pl_module, pl_module.scores)

    def _write(self, module: AdaptationModule, scores: Scores) -> None:
        path = validation_path(self.directory, module.stage, module.round_number)
        path.parent.mkdir(parents=True, exist_ok=True)
        # With few images each one is shown once only.
        worst = {id(seen) for seen in self._worst}
        best = [seen for seen in self._best if id(seen) not in worst]
        write_json(
            path,
            {
                "format": FORMAT,
                "step": module.steps_done,
                "images": self._images,
                "pixel_accuracy": scores.pixel_accuracy,
                "matrix": scores.matrix.tolist(),
                "worst": [seen.to_dict(module.classes) for seen in self._worst],
                "best": [seen.to_dict(module.classes) for seen in best],
            },
        )

    def _keep(self, name: str, wrong: float, image: Tensor, label: Tensor, prediction: Tensor) -> None:
        bad = len(self._worst) < self.count or wrong > self._worst[-1].wrong
        good = len(self._best) < self.count or wrong < self._best[-1].wrong
        if not (bad or good):
            return
        picture = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
        size = fitted(*label.shape[-2:])
        seen = _Seen(
            name,
            wrong,
            resized(picture, *size, smooth=True),
            resize_labels(label.cpu().numpy(), *size),
            resize_labels(prediction.cpu().numpy().astype(np.uint8), *size),
        )
        # Both sorts are stable: of equal shares the earlier image stays.
        if bad:
            self._worst = sorted([*self._worst, seen], key=lambda one: -one.wrong)[: self.count]
        if good:
            self._best = sorted([*self._best, seen], key=lambda one: one.wrong)[: self.count]


def wrong_share(prediction: Tensor, label: Tensor) -> float | None:
    """Share of the labeled pixels that are predicted wrong, 0..1; None if no pixel is labeled.

    Args:
        prediction: int [H, W].
        label: uint8 [H, W], 255 = not labeled.
    """
    labeled = label != IGNORED
    pixels = int(labeled.sum())
    return int(((prediction != label) & labeled).sum()) / pixels if pixels else None
