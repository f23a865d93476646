"""A network that slides over images of any size in overlapping windows, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from hiast.evaluation.inference import starts

Blend = Literal["gaussian", "mean"]
Network = Callable[[Tensor], Tensor]
SlidingWindow = tuple[int, int, int]
"""(height, width, stride) in pixels."""

_SIGMA = 1 / 8
"""Standard deviation of the Gaussian as a share of the window's side (Isensee et al. 2021, nnU-Net)."""


def profile(length: int, blend: Blend, device: torch.device | str = "cpu") -> Tensor:
    """Weights float32 [length] along one side of a window; those of a pixel are the product of both sides'."""
    if blend == "mean":
        return torch.ones(length, device=device)
    offset = torch.arange(length, dtype=torch.float32, device=device) - (length - 1) / 2
    return torch.exp(-0.5 * (offset / (_SIGMA * length)) ** 2)


def logit_bands(
    network: Network,
    images: Tensor,
    window: SlidingWindow,
    blend: Blend,
    ready: Callable[[Tensor], Tensor] = torch.Tensor.float,
) -> Iterator[Tensor]:
    """Weighted means of the logits of all windows over a pixel, as bands of rows from the top to the bottom.

    An image that is smaller than the window is padded with 0 at the right and the bottom, behind ``ready``.

    Args:
        network: Images float32 [B, 3, height, width] -> logits [B, C, h, w], resized to the window if they are smaller.
        images: [B, 3, H, W] of any type.
        window: Height, width, and stride of at most both.
        blend: Weights within a window.
        ready: Turns a part of the images into what the network reads, such as a normalization.

    Yields:
        float32 [B, C, rows, W]; the rows of all bands together are H.
    """
    height, width, stride = window
    rows, columns = images.shape[-2:]
    tops = starts(max(rows, height), height, stride)
    down, across = profile(height, blend, images.device), profile(width, blend, images.device)
    total_across = torch.zeros(max(columns, width), device=images.device)
    for left in starts(max(columns, width), width, stride):
        total_across[left : left + width] += across
    carried: Tensor | None = None
    carried_weight = down[:0]
    for top, following in zip(tops, [*tops[1:], tops[-1] + height], strict=True):
        band = _band(network, images, window, top, across, ready) * down[:, None]
        weight = down.clone()
        if carried is not None:
            band[..., : carried.shape[-2], :] += carried
            weight[: len(carried_weight)] += carried_weight
        done = following - top
        finished = band[..., :done, :] / (weight[:done, None] * total_across)
        yield finished[..., : rows - top, :columns]
        carried, carried_weight = band[..., done:, :], weight[done:]


def _band(
    network: Network,
    images: Tensor,
    window: SlidingWindow,
    top: int,
    across: Tensor,
    ready: Callable[[Tensor], Tensor],
) -> Tensor:
    """Sums over the windows of one row of windows: their logits times the weights across, [B, C, height, W]."""
    height, width, stride = window
    full = max(images.shape[-1], width)
    band: Tensor | None = None
    for left in starts(full, width, stride):
        crop = ready(images[..., top : top + height, left : left + width])
        missing = (0, width - crop.shape[-1], 0, height - crop.shape[-2])
        logits = network(functional.pad(crop, missing) if any(missing) else crop).float()
        if logits.shape[-2:] != (height, width):
            logits = functional.interpolate(logits, (height, width), mode="bilinear", align_corners=True)
        if band is None:
            band = logits.new_zeros(*logits.shape[:2], height, full)
        band[..., left : left + width] += logits * across
    assert band is not None
    return band


class Windows:
    """A network that is applied in overlapping windows: images [B, 3, H, W] -> logits float32 [B, C, H, W].

    Args:
        network: See ``logit_bands``.
        window: Height, width and stride.
        blend: Weights within a window.
    """

    def __init__(self, network: Network, window: SlidingWindow, blend: Blend = "gaussian") -> None:
        self.network = network
        self.window = window
        self.blend = blend

    def __call__(self, images: Tensor) -> Tensor:
        """Logits at the size of the images."""
        return torch.cat(list(logit_bands(self.network, images, self.window, self.blend)), dim=-2)
