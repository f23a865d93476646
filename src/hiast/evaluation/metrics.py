"""Intersection over union, counted in whole pixels over a whole set."""

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
        published_means: Means in which an absent class is counted as 0, as the published code does.
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
        # A copy: the counting goes on in the same memory.
        return scores(self.matrix.cpu().numpy().copy(), self.classes)


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Count pairs of label and prediction with one bincount of both bytes.

    Args:
        prediction: int [..., H, W], 0..C-1 wherever there is a label. uint8 is the fastest.
        label: int [..., H, W], 0..C-1 or 255. Likewise.
        num_classes: C, at most 255.

    Returns:
        int64 [C, C] on the device of ``label``; row = label, column = prediction.

    Raises:
        InputError: They are no tensors of integers, their shapes differ, or a label or prediction is not a class.
    """
    for name, values in (("Predictions", prediction), ("labels", label)):
        if not isinstance(values, Tensor) or values.is_floating_point():
            found = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise InputError(
                f"{name} are {found}: give class indices as a tensor of integers; torch.from_numpy makes one."
            )
    if prediction.shape != label.shape:
        raise InputError(
            f"Prediction {list(prediction.shape)} and label {list(label.shape)} differ in shape."
        )
    if not label.numel():
        return torch.zeros(num_classes, num_classes, dtype=torch.int64, device=label.device)
    columns, rows = _bytes(prediction.to(label.device)), _bytes(label)
    # Half of the memory for up to 127 classes: without the highest bit, ignored is 127, and no class is.
    few = num_classes <= 127
    pairs = rows.bitwise_and(127).to(torch.int16) if few else rows.to(torch.int32)
    pairs = pairs.bitwise_left_shift_(8).bitwise_or_(columns).flatten()
    table = torch.bincount(pairs, minlength=(128 if few else 256) * 256).view(-1, 256)
    checks = torch.stack([_largest(label), table[:num_classes, num_classes:].sum()])
    largest, wrong_predictions = checks.tolist()
    if largest >= num_classes or wrong_predictions:
        wrong_labels = int((((label < 0) | (label >= num_classes)) & (label != IGNORED)).sum())
        raise InputError(
            f"{wrong_labels} labels and {wrong_predictions} predictions are not classes: with {num_classes} classes "
            f"they must be 0 to {num_classes - 1}, and labels may be {IGNORED}."
        )
    return table[:num_classes, :num_classes].clone()


def _bytes(values: Tensor) -> Tensor:
    """Integers as uint8; those outside 0..255 become 255."""
    return values if values.dtype == torch.uint8 else values.clamp(-1, 255).to(torch.uint8)


def _largest(label: Tensor) -> Tensor:
    """The largest class of a label map, an int64 scalar; negative numbers count as large, -1 is none at all."""
    if label.dtype == torch.uint8:
        return (label + 1).max().long() - 1  # 255 wraps to 0
    inside = label.where(label != IGNORED, -1).long()
    return inside.where((inside >= 0) | (label == IGNORED), 1 << 32).max()


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
