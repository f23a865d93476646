"""View consistency: whether a network says the same of an image and of mirrored, smaller and recolored versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hiast.selection.agreement import PairCounter, PairScores, most_probable

Predict = Callable[[Tensor], Tensor]
"""Images uint8 [B, 3, H, W] -> class probabilities float [B, C, h, w], at any resolution."""

SCALE = 0.75
MULTIPLE = 32
"""Sides of scaled images are multiples of this, since many encoders take no others."""
GAMMA = 0.8
TINT = (1.06, 1.0, 0.94)


@dataclass(frozen=True)
class ConsistencyView:
    """A change of an image that moves no class, and its inverse for the prediction.

    Attributes:
        name: Its name in tables.
        apply: Images uint8 [B, 3, H, W] -> images uint8 [B, 3, H', W'].
        undo: Probabilities [B, C, h, w] of the changed images and the size (height, width) of those of the images ->
            probabilities of that size.
    """

    name: str
    apply: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor, tuple[int, int]], Tensor]


def mirrored(maps: Tensor) -> Tensor:
    """Mirror [..., H, W] from left to right."""
    return maps.flip(-1)


def smaller(images: Tensor) -> Tensor:
    """Images uint8 [B, 3, H, W] at three quarters of their size; sides are rounded down to multiples of 32."""
    height, width = (max(int(side * SCALE) // MULTIPLE * MULTIPLE, MULTIPLE) for side in images.shape[-2:])
    return resized(images.float(), (height, width)).round().to(torch.uint8)


def recolored(images: Tensor) -> Tensor:
    """Images uint8 [B, 3, H, W], brighter (gamma 0.8) and warmer (red x 1.06, blue x 0.94)."""
    tint = torch.tensor(TINT, device=images.device).view(3, 1, 1)
    changed = (images.float() / 255).pow(GAMMA) * tint
    return changed.clamp(0, 1).mul(255).round().to(torch.uint8)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of float [B, K, H, W] with aligned corners; the maps themselves if they fit already."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def _mirrored_back(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return resized(mirrored(maps), size)


VIEWS = (
    ConsistencyView("flip", mirrored, _mirrored_back),
    ConsistencyView("scale", smaller, resized),
    ConsistencyView("color", recolored, resized),
)
"""The views that are looked at unless others are given."""


class ViewConsistency:
    """Counts how a network's prediction of an image agrees with those of its views.

    The score of a view is the mIoU between both predictions, over the classes that one of them has. High is good, but
    a constant prediction is perfectly consistent: like every score here it must not decide alone.

    Source: consistency of predictions under augmentation selects reliable pixels in AUGCO (Prabhu et
    al., 2021) and S4T; here it scores whole networks.

    Args:
        num_classes: C.
        views: The views.
        device: Where to count.
    """

    def __init__(
        self, num_classes: int, views: Sequence[ConsistencyView] = VIEWS, device: torch.device | str = "cpu"
    ) -> None:
        self.views = tuple(views)
        self.counters = {view.name: PairCounter(num_classes).to(device) for view in self.views}

    @torch.no_grad()
    def update(self, predict: Predict, images: Tensor, prediction: Tensor) -> None:
        """Count some images.

        Args:
            predict: The network.
            images: uint8 [B, 3, H, W].
            prediction: int64 [B, h, w], classes predicted for ``images``.
        """
        size = (prediction.shape[-2], prediction.shape[-1])
        for view in self.views:
            other = view.undo(predict(view.apply(images)), size)
            self.counters[view.name].update(prediction, most_probable(other))

    def compute(self) -> dict[str, PairScores]:
        """Agreement with each view, by its name, over all images of all processes."""
        return {name: counter.compute() for name, counter in self.counters.items()}
