"""Agreement of two predictions of the same images: share of pixels, and IoU class by class."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from hiast.evaluation.metrics import iou


class PairScores(NamedTuple):
    """How far two predictions agree. It does not matter which is the first.

    Attributes:
        matrix: int64 [C, C] pixels; row = first prediction, column = second.
        agreement: Share of pixels with equal classes, in 0..1; NaN without pixels.
        iou: float64 [C], NaN for a class that neither predicts.
        miou: Mean IoU over the classes that at least one of them predicts; NaN without pixels.
    """

    matrix: NDArray[np.int64]
    agreement: float
    iou: NDArray[np.float64]
    miou: float


def pair_scores(matrix: NDArray[np.int64]) -> PairScores:
    """Scores of an int64 [C, C] matrix of pixel counts.

    Examples:
        >>> pair_scores(np.array([[3, 1], [0, 4]])).agreement
        0.875
    """
    total = int(matrix.sum())
    values = iou(matrix)
    known = values[~np.isnan(values)]
    return PairScores(
        matrix=matrix,
        agreement=int(np.trace(matrix)) / total if total else math.nan,
        iou=values,
        miou=float(known.mean()) if len(known) else math.nan,
    )


def most_probable(maps: Tensor) -> Tensor:
    """Classes int64 [B, H, W] with the highest value in float [B, C, H, W].

    The same as ``argmax``, which takes several times as long on a CPU where the class is not the last axis in memory.
    """
    return maps.max(1).indices


def pair_matrix(a: NDArray[Any], b: NDArray[Any], num_classes: int) -> NDArray[np.int64]:
    """Matrix int64 [C, C] of pixel counts of two class maps of equal shape with classes 0..C-1."""
    pairs = a.astype(np.int64).ravel() * num_classes + b.ravel()
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


class PairCounter(Metric):
    """Counts pairs of predicted classes over a stream of batches, in whole pixels.

    It serves for teacher and student, for two views of an image and for two rounds. int64 sums are exact, so the
    result depends neither on batches nor on processes.

    Args:
        num_classes: C.

    Examples:
        >>> counter = PairCounter(num_classes=2)
        >>> counter.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
        >>> counter.compute().agreement
        0.5
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    matrix: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes**2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, a: Tensor, b: Tensor) -> None:
        """Count some images.

        Args:
            a: int [..., H, W], classes 0..C-1 of the first prediction.
            b: int [..., H, W], classes of the second.

        Raises:
            ValueError: The shapes differ.
        """
        if a.shape != b.shape:
            raise ValueError(f"Predictions {list(a.shape)} and {list(b.shape)} differ in shape.")
        pairs = a.flatten().long() * self.num_classes + b.flatten().long()
        self.matrix += torch.bincount(pairs, minlength=self.num_classes**2)

    def compute(self) -> PairScores:
        """Scores of all images of all processes."""
        return pair_scores(self.matrix.view(self.num_classes, self.num_classes).cpu().numpy())
