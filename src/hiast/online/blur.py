"""Gaussian blur of a batch on the device, each image with its own sigma."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.online.color import ColorStep
from hiast.online.draws import between

_REACH = 6.0
"""Sigmas beyond which a weight is below what float32 can add to the middle one."""


@dataclass(frozen=True)
class GaussianBlur(ColorStep):
    """Gaussian blur with a random sigma, mirrored at the border.

    The kernel is, along each side, the largest odd number of pixels up to ``kernel`` times the side rounded up, as in
    DAFormer; weights beyond 6 sigma are left out. An image so small that this is one pixel stays as it is.

    Args:
        smallest: Smallest sigma in pixels, above 0 (DAFormer 0.15).
        largest: Largest sigma (DAFormer 1.15, VFM-UDA++ 3.0).
        kernel: Share of the side that the kernel spans, above 0, at most 1 (published 0.1).

    Raises:
        InputError: A setting is out of range.
    """

    smallest: float = 0.15
    largest: float = 1.15
    kernel: float = 0.1
    draws: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.smallest <= self.largest < math.inf or not 0 < self.kernel <= 1:
            raise InputError(
                f"GaussianBlur: sigmas from {self.smallest} to {self.largest} and a kernel of {self.kernel} are not "
                "possible; give 0 < smallest <= largest and a kernel above 0, at most 1."
            )

    def change(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Blurred images, see :meth:`ColorStep.change`."""
        sigmas = between(numbers[:, 0], self.smallest, self.largest).to(images.device, non_blocking=True)
        reach = math.ceil(_REACH * self.largest)
        radii = [min(self.radius(side), reach) for side in images.shape[2:]]
        return gaussian_blur(images, sigmas, (radii[0], radii[1]))

    def radius(self, side: int) -> int:
        """Pixels on each side of the middle one, for a side of the image in pixels."""
        # Less a hair: the product of 0.1 and 10 may come out above 1.
        return min((math.ceil(self.kernel * side - 1e-9) - 1) // 2, side - 1)


def gaussian_blur(images: Tensor, sigmas: Tensor, radii: tuple[int, int]) -> Tensor:
    """Blur floating images [B,3,H,W], each with its own ``sigmas`` [B] in pixels; mirrored at the border.

    Args:
        images: float32 [B,3,H,W].
        sigmas: float32 [B], above 0.
        radii: Pixels of the kernel on each side of the middle one, along height and width; below H and W.
    """
    height, width = images.shape[2:]
    down, across = radii
    planes = F.pad(images, (across, across, down, down), mode="reflect")
    # Sums of shifted planes and no convolution: exact under autocast and TF32 too, and faster on a CPU.
    for radius, dimension, length in ((down, 2, height), (across, 3, width)):
        weights = _kernel(sigmas, radius).view(len(images), -1, 1, 1, 1)
        blurred = planes.narrow(dimension, 0, length) * weights[:, 0]
        for place in range(1, 2 * radius + 1):
            blurred = blurred.addcmul_(planes.narrow(dimension, place, length), weights[:, place])
        planes = blurred
    return planes


def _kernel(sigmas: Tensor, radius: int) -> Tensor:
    places = torch.arange(-radius, radius + 1, device=sigmas.device) / sigmas.unsqueeze(1)
    weights = torch.exp(-0.5 * places**2)
    return weights / weights.sum(1, keepdim=True)
