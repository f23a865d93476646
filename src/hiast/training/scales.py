"""One loss over the scales of a network: that of its logits, and that of a window which it saw in detail."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from hiast.models.network import TrainingPass
from hiast.upsampling import Upsampling

Cut = Callable[[Tensor, float], Tensor]
"""Cuts maps [B,...,H,W] of the images to what logits are about; the number stands where the images are padded."""


def loss_over_scales(
    passed: TrainingPass, upsampling: Upsampling, loss: Callable[[Tensor, Upsampling, Cut], Tensor]
) -> Tensor:
    """(1 - share) * loss of the logits + share * loss of the detail; the loss of the logits where there is no detail.

    Source: HRDA, Hoyer et al. 2022, with a share of 0.1.

    Args:
        passed: The logits.
        upsampling: From the logits to the images.
        loss: Scalar of coarse logits, their upsampling, and a function that cuts labels and weights to them.
    """
    whole = loss(passed.logits, upsampling, _whole)
    detail = passed.detail
    if detail is None or not detail.share:
        return whole
    (top, left), (height, width) = detail.corner, detail.upsampling.size

    def cut(maps: Tensor, fill: float) -> Tensor:
        below, right = (
            max(0, end - length)
            for end, length in zip((top + height, left + width), maps.shape[-2:], strict=True)
        )
        if below or right:
            maps = functional.pad(maps, (0, right, 0, below), value=fill)
        return maps[..., top : top + height, left : left + width]

    part = loss(detail.logits, detail.upsampling, cut)
    return (1 - detail.share) * whole + detail.share * part


def _whole(maps: Tensor, fill: float) -> Tensor:
    return maps
