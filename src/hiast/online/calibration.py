"""Weights of classes that keep a network from predicting them more or less often than they are labeled."""

from __future__ import annotations

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_num_classes, check_shares
from hiast.online.processes import sum_over_processes
from hiast.upsampling import PortableState, to_double


class ClassCalibration(PortableState):
    """Class weights that are steered until predictions on labeled pixels are as frequent as their labels.

    With running means L of the label histogram and P of the histogram of predictions on labeled source pixels, each
    step multiplies the weight of class k by clip(L_k / P_k, 1/2, 2)^rate, scales the weights so that their mean under
    the class frequencies is 1, and clips them. A class that the network neglects gains weight, and a class of which it
    predicts too much loses weight, so no power of the frequencies has to be chosen for a data set. Pseudo-labels take
    no part, so errors of the teacher cannot feed themselves.

    Args:
        num_classes: C, 1 to 255.
        rate: Exponent of a step, 0 to 1; 0 keeps all weights at 1.
        momentum: Share of the running means that a step keeps, 0 to below 1.
        low: Least weight, above 0.
        high: Largest weight.

    Attributes:
        weights: float32 [C], a buffer.
        frequencies: float64 [C], a buffer: share of each class among the labeled source pixels; 0 before ``start``.

    Raises:
        InputError: A setting is out of range.
    """

    weights: Tensor
    frequencies: Tensor
    labeled: Tensor
    predicted: Tensor

    def __init__(
        self,
        num_classes: int,
        rate: float = 0.05,
        momentum: float = 0.95,
        low: float = 0.2,
        high: float = 5.0,
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        check_shares("class calibration", rate=rate, momentum=momentum)
        if momentum == 1 or not 0 < low <= 1 <= high:
            raise InputError(
                f"class calibration: momentum is {momentum}, low {low} and high {high}; give a momentum below 1, and "
                "limits with 0 < low <= 1 <= high."
            )
        self.num_classes, self.rate, self.momentum, self.low, self.high = (
            num_classes,
            rate,
            momentum,
            low,
            high,
        )
        self.register_buffer("weights", torch.ones(num_classes))
        for name in ("frequencies", "labeled", "predicted"):
            self.register_buffer(name, torch.zeros(num_classes, dtype=torch.float64))

    def start(self, pixels: Tensor) -> None:
        """Set the class frequencies from pixel counts [C], and both running means to them."""
        shares = to_double(pixels) / to_double(pixels).sum().clamp(min=1)
        for buffer in (self.frequencies, self.labeled, self.predicted):
            buffer.copy_(shares)

    @property
    def started(self) -> bool:
        """Whether ``start`` was called, in this run or the one that it resumes."""
        return bool(self.frequencies.any())

    @torch.no_grad()
    def update(self, prediction: Tensor, labels: Tensor) -> None:
        """Steer the weights by a batch of labeled source images; where a run has several processes, all call together.

        Args:
            prediction: Integer [B,H,W], class indices.
            labels: uint8 [B,H,W], class index or 255.
        """
        known = labels.ne(IGNORED)
        prediction = torch.where(known, prediction.long(), self.num_classes)
        label = torch.where(known, labels.long(), self.num_classes)
        # Not bincount, which waits for the device.
        table = torch.zeros(2, self.num_classes + 1, dtype=torch.int64, device=labels.device)
        for row, values in zip(table, (label, prediction), strict=True):
            row.scatter_add_(0, values.reshape(-1), torch.ones_like(values.reshape(-1)))
        counts = sum_over_processes(to_double(table[:, : self.num_classes]))
        shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
        any_labeled = counts[0].sum() > 0
        for buffer, share in zip((self.labeled, self.predicted), shares, strict=True):
            moved = buffer * self.momentum + share * (1 - self.momentum)
            buffer.copy_(torch.where(any_labeled, moved, buffer))
        ratio = ((self.labeled + 1e-4) / (self.predicted + 1e-4)).clamp(0.5, 2.0)
        steered = to_double(self.weights) * ratio**self.rate
        mean = (steered * self.frequencies).sum()
        steered = torch.where(mean > 0, steered / mean.clamp(min=1e-12), steered)
        self.weights.copy_(steered.clamp(self.low, self.high))

    def forward(self, labels: Tensor) -> Tensor:
        """The weight of the class of each pixel, float32 [B,H,W]; 0 for ignored pixels.

        Args:
            labels: uint8 [B,H,W], class index or 255.
        """
        table = torch.zeros(IGNORED + 1, device=labels.device)
        table[: self.num_classes] = self.weights
        return table[labels.long()]
