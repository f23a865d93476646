"""Intersection over union, counted in whole pixels over a whole set (method section 10)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from hiast.classes import IGNORED, LabelSpace
from hiast.errors import InputError


class Scores(NamedTuple):
    """What an evaluation found. Shares are in 0..1, and NaN where there is nothing to measure.

    A named tuple because torchmetrics, which hands it out, refuses frozen dataclasses.

    Attributes:
        matrix: int64 [C, C] pixels; row = label, column = prediction.
        iou: Class name -> intersection over union; NaN for a class in neither labels nor predictions.
        means: Title -> mean IoU over the classes reported under it, without those that are absent.
        published_means: The same with an absent class counted as 0, as the published code does.
        absent: Classes in neither labels nor predictions.
        pixel_accuracy: Share of labeled pixels that are predicted right.
    """

    matrix: NDArray[np.int64]
    iou: dict[str, float]
    means: dict[str, float]
    published_means: dict[str, float]
    absent: tuple[str, ...]
    pixel_accuracy: float


class SegmentationMetrics(Metric):
    """Confusion matrix of a data set; int64, so that sums over images and processes are exact.

    Every image counts once: no process may be given padded duplicates.

    Args:
        classes: The scenario's label space, with C classes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    matrix: Tensor

    def __init__(self, classes: LabelSpace) -> None:
        super().__init__()
        self.classes = classes
        size = len(classes)
        self.add_state("matrix", torch.zeros(size, size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Count some images.

        Args:
            prediction: int [..., H, W], class indices.
            label: uint8 [..., H, W], class indices, 255 = not counted.

        Raises:
            InputError: See ``confusion_matrix``.
        """
        self.matrix += confusion_matrix(prediction, label, len(self.classes))

    def compute(self) -> Scores:
        """Scores of all images of all processes."""
        return scores(self.matrix.cpu().numpy(), self.classes)


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pairs of label and prediction with one bincount.

    Args:
        prediction: int [..., H, W], 0..C-1 wherever there is a label.
        label: int [..., H, W], 0..C-1 or 255.
        num_classes: C.

    Returns:
        int64 [C, C] on the device of ``label``; row = label, column = prediction.

    Raises:
        InputError: The shapes differ, or a label or prediction is no class.
    """
    if prediction.shape != label.shape:
        raise InputError(
            f"Prediction {list(prediction.shape)} and label {list(label.shape)} differ in shape."
        )
    # Two more rows (ignored, no class) and one more column (no class), so that the same count finds wrong values
    # instead of adding them to another pair.
    rows = torch.full((256,), num_classes + 1, dtype=torch.int64, device=label.device)
    rows[:num_classes] = torch.arange(num_classes, device=label.device)
    rows[IGNORED] = num_classes
    columns = prediction.flatten().to(label.device, torch.int64)
    columns = columns.where((columns >= 0) & (columns < num_classes), num_classes)
    pairs = rows[label.flatten().long()].mul_(num_classes + 1).add_(columns)
    counts = torch.bincount(pairs, minlength=(num_classes + 2) * (num_classes + 1))
    counts = counts.view(num_classes + 2, num_classes + 1)
    wrong_labels, wrong_predictions = torch.stack([counts[-1].sum(), counts[:-2, -1].sum()]).tolist()
    if wrong_labels or wrong_predictions:
        raise InputError(
            f"{wrong_labels} labels and {wrong_predictions} predictions are no class: with {num_classes} classes "
            f"they must be 0 to {num_classes - 1}, and labels may be {IGNORED}."
        )
    return counts[:num_classes, :num_classes].clone()


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union, float64 [C], of an int64 [C, C] confusion matrix; NaN for absent classes."""
    hits = np.diagonal(matrix)
    union = matrix.sum(0) + matrix.sum(1) - hits
    values = np.full(len(matrix), np.nan)
    np.divide(hits, union, out=values, where=union > 0)
    return values


def scores(matrix: NDArray[np.int64], classes: LabelSpace) -> Scores:
    """Everything that is reported of an int64 [C, C] confusion matrix."""
    values = dict(zip(classes.names, iou(matrix).tolist(), strict=True))
    total = int(matrix.sum())
    return Scores(
        matrix=matrix,
        iou=values,
        means={title: _mean(values, names) for title, names in classes.reported.items()},
        published_means={
            title: sum(0.0 if math.isnan(values[name]) else values[name] for name in names) / len(names)
            for title, names in classes.reported.items()
        },
        absent=tuple(name for name, value in values.items() if math.isnan(value)),
        pixel_accuracy=int(np.trace(matrix)) / total if total else math.nan,
    )


def _mean(values: Mapping[str, float], names: Sequence[str]) -> float:
    present = [values[name] for name in names if not math.isnan(values[name])]
    return sum(present) / len(present) if present else math.nan
