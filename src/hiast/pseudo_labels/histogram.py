"""Exact quantiles of float16 confidences from counts.

Rounded to float16, confidences between 2^-5 and 1 take one of 5,121 values, whose bit patterns are
consecutive integers (their *codes*) in the order of the values. A table of counts per class and code is enough
to compute exact quantiles. It takes constant memory, and tables add up over images and processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log2

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.errors import InputError

_CODE_OF_ONE = 0x3C00
_VALUES = np.arange(_CODE_OF_ONE + 1, dtype=np.uint16).view(np.float16).astype(np.float64)


def lowest_code(num_classes: int) -> int:
    """Code of the largest power of two that is not above 1 / num_classes, the smallest top-1 probability."""
    return int(np.float16(2.0 ** floor(log2(1 / num_classes))).view(np.uint16))


@dataclass(frozen=True)
class Histogram:
    """Pixels per class and confidence.

    Attributes:
        counts: int64 [C, codes]; the column ``j`` counts pixels whose confidence has the code ``lowest + j``.
        lowest: Code of the first column.
    """

    counts: NDArray[np.int64]
    lowest: int

    @staticmethod
    def empty(num_classes: int) -> Histogram:
        """A histogram without pixels, wide enough for the top-1 probabilities of ``num_classes`` classes."""
        lowest = lowest_code(num_classes)
        return Histogram(np.zeros((num_classes, _CODE_OF_ONE + 1 - lowest), np.int64), lowest)

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels per class, int64 [C]."""
        return np.asarray(self.counts.sum(axis=1))

    def __add__(self, other: Histogram) -> Histogram:
        """Histogram of the pixels of both."""
        lowest = min(self.lowest, other.lowest)
        wide = [np.pad(h.counts, ((0, 0), (h.lowest - lowest, 0))) for h in (self, other)]
        return Histogram(wide[0] + wide[1], lowest)

    def quantile(self, index: int, level: float, extra: float | None = None) -> float:
        """Quantile of one class's confidences, as ``numpy.quantile`` gives it in float64.

        Args:
            index: Class; it has pixels, or ``extra`` is given.
            level: 0 to 1.
            extra: One more element of the multiset, of any value in 0..1.

        Returns:
            The same float64, bit for bit, as numpy computes from the list of values.
        """
        up_to = np.cumsum(self.counts[index])
        before = -1
        if extra is not None:
            column = int(np.searchsorted(_VALUES, extra)) - self.lowest
            before = int(up_to[column - 1]) if column > 0 else 0
        size = int(up_to[-1]) + (extra is not None)

        def element(rank: int) -> float:
            if rank == before:
                return float(extra)  # type: ignore[arg-type]
            if 0 <= before < rank:
                rank -= 1
            return float(_VALUES[self.lowest + int(np.searchsorted(up_to, rank, side="right"))])

        position = (size - 1) * level
        lower = min(floor(position), size - 1)
        return _interpolate(element(lower), element(min(lower + 1, size - 1)), position - lower)


def _interpolate(low: float, high: float, weight: float) -> float:
    # numpy's own order of operations: another one differs in the last bit.
    difference = high - low
    return high - difference * (1 - weight) if weight >= 0.5 else low + difference * weight


def smallest_confidence(confidence: Tensor, prediction: Tensor, num_classes: int) -> float:
    """Check one group's tensors; returns the smallest confidence.

    Args:
        confidence: Floating [B, H, W] in 0..1.
        prediction: Integer [B, H, W] in 0..num_classes-1.
        num_classes: C.

    Raises:
        InputError: Shape, type or range do not fit, or a confidence is not finite.
    """
    if not isinstance(confidence, Tensor) or not isinstance(prediction, Tensor):
        raise InputError(
            f"Confidence and prediction have to be tensors, not {type(confidence).__name__} and "
            f"{type(prediction).__name__}: torch.from_numpy makes them of arrays."
        )
    if confidence.ndim != 3 or confidence.shape != prediction.shape or not confidence.is_floating_point():
        raise InputError(
            "Confidence must be a float tensor [B, H, W] and prediction an integer one of that shape, not "
            f"{confidence.dtype} {list(confidence.shape)} and {prediction.dtype} {list(prediction.shape)}."
        )
    if prediction.is_floating_point() or prediction.dtype == torch.bool:
        raise InputError(f"Prediction must hold class indices of an integer type, not {prediction.dtype}.")
    if confidence.numel() == 0:
        return 1.0
    extremes = torch.stack([*torch.aminmax(confidence), *torch.aminmax(prediction)]).tolist()
    low, high, first, last = (float(value) for value in extremes)
    if not (low >= 0 and float(np.float16(high)) <= 1):
        raise InputError(f"Confidences must lie between 0 and 1, but these range from {low} to {high}.")
    if first < 0 or last >= num_classes:
        raise InputError(
            f"Predictions must be class indices from 0 to {num_classes - 1}, but these go from {first:.0f} "
            f"to {last:.0f}: policy and network differ in their number of classes."
        )
    return low


def count(confidence: Tensor, prediction: Tensor, num_classes: int, every: int = 1) -> Histogram:
    """Count one group's pixels by class and float16 confidence, on the tensors' device.

    Args:
        confidence: Floating [B, H, W] in 0..1.
        prediction: Integer [B, H, W] in 0..num_classes-1.
        num_classes: C.
        every: Count the first and then every n-th pixel of each class, in row-major order over the group.

    Returns:
        The histogram. It is as narrow as top-1 probabilities allow, and wide enough for smaller values if the
        group holds any.

    Raises:
        InputError: See :func:`smallest_confidence`.
    """
    smallest = smallest_confidence(confidence, prediction, num_classes)
    lowest = lowest_code(num_classes)
    if np.float16(smallest).view(np.uint16) < lowest:
        lowest = 0
    width = _CODE_OF_ONE + 1 - lowest
    code = confidence.float().half().view(torch.int16)
    cell = (prediction.to(torch.int32) * width).add_(code).sub_(lowest).flatten()
    if every > 1:
        cell = cell[_every_nth_of_each_class(prediction.flatten(), num_classes, every)]
    counts = torch.bincount(cell, minlength=num_classes * width)
    return Histogram(counts.view(num_classes, width).cpu().numpy(), lowest)


def _every_nth_of_each_class(prediction: Tensor, num_classes: int, every: int) -> Tensor:
    """Positions, in no particular order, of pixels 0, n, 2n, ... of each class."""
    order = torch.argsort(prediction, stable=True)
    sizes = torch.bincount(prediction.to(torch.int32), minlength=num_classes)
    starts = torch.cumsum(sizes, 0) - sizes
    rank = torch.arange(len(order), device=order.device) - starts.repeat_interleave(sizes)
    return order[rank % every == 0]
