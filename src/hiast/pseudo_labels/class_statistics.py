"""Statistics of a round's labels: kept pixels and mean confidence of each class."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SLOTS = 256


def kept(
    confidence: Tensor, labels: Tensor, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of kept pixels and sum of their confidences, per image and class.

    Args:
        confidence: Floating [B, H, W], used as float32.
        labels: uint8 [B, H, W], 255 = ignored.
        num_classes: C.

    Returns:
        Pixels int64 [B, C] and sums float64 [B, C]. For confidences of at least 2^-5 and images of up to 2^25
        pixels the sums are exact, and therefore the same in any order of addition and on any device.
    """
    images = labels.shape[0]
    offset = torch.arange(images, dtype=torch.int32, device=labels.device).mul_(_SLOTS).view(-1, 1, 1)
    slot = (labels + offset).flatten()
    pixels = torch.bincount(slot, minlength=images * _SLOTS)
    sums = torch.zeros(images * _SLOTS, dtype=torch.float64, device=labels.device)
    sums.index_add_(0, slot, confidence.float().double().flatten())
    by_image = (pixels.view(images, _SLOTS)[:, :num_classes], sums.view(images, _SLOTS)[:, :num_classes])
    return by_image[0].cpu().numpy(), by_image[1].cpu().numpy()


class RoundStatistics:
    """Statistics of a round, updated group by group in the order of labeling.

    ``class_mean_confidence`` v[k] starts as the mean confidence of the kept pixels of class k in the first
    group that keeps any, and then moves by v = momentum * v + (1 - momentum) * mean.

    Args:
        num_classes: C.
        momentum: Weight of the past in the running mean (published 0.99).

    Examples:
        >>> import torch
        >>> statistics = RoundStatistics(num_classes=2)
        >>> statistics.update(torch.full((1, 2, 2), 0.5), torch.zeros(1, 2, 2, dtype=torch.uint8))
        >>> statistics.class_mean_confidence
        array([0.5, nan])
        >>> statistics.class_pixels
        array([4, 0])
    """

    def __init__(self, num_classes: int, momentum: float = 0.99) -> None:
        self._momentum = momentum
        self._mean = np.full(num_classes, np.nan)
        self._pixels: list[NDArray[np.int64]] = []

    def update(self, confidence: Tensor, labels: Tensor) -> None:
        """Add a group: confidence floating [B, H, W] and labels uint8 [B, H, W]."""
        self.add(*kept(confidence, labels, len(self._mean)))

    def add(self, pixels: NDArray[np.int64], sums: NDArray[np.float64]) -> None:
        """Add a group from pixels int64 [B, C] and sums float64 [B, C], as ``kept`` gives them."""
        self._pixels.extend(np.array(pixels, np.int64))
        total, confidence = pixels.sum(axis=0), sums.sum(axis=0)
        seen = total > 0
        mean = confidence[seen] / total[seen]
        past = self._mean[seen]
        moved = self._momentum * past + (1 - self._momentum) * mean
        self._mean[seen] = np.where(np.isnan(past), mean, moved)

    @property
    def class_mean_confidence(self) -> NDArray[np.float64]:
        """Running mean confidence, float64 [C]; NaN for a class that was never kept."""
        return self._mean.copy()

    @property
    def image_pixels(self) -> NDArray[np.int64]:
        """Kept pixels of each image, in the order of the updates, and class: int64 [N, C]."""
        return np.array(self._pixels, np.int64).reshape(-1, len(self._mean))

    @property
    def class_pixels(self) -> NDArray[np.int64]:
        """Kept pixels of each class, int64 [C]."""
        return np.asarray(self.image_pixels.sum(axis=0))
