"""From images to class probabilities: several sizes, mirrored, whole or in windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hiast.errors import InputError
from hiast.models.normalize import normalize

Size = tuple[int, int]
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Prediction:
    """What a network says of one image.

    Attributes:
        labels: uint8 [H, W], the most probable class of each pixel.
        confidence: float32 [H, W], its probability in 0..1.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]


@torch.no_grad()
def predict_probabilities(
    network: Network,
    images: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    sizes: Sequence[Size] | None = None,
    flip: bool = False,
    window: tuple[int, int, int] | None = None,
    output_size: Size | None = None,
) -> Tensor:
    """Class probabilities of images, averaged over sizes and mirror images.

    For each size the normalized image is resized, and the logits are resized to the output size (both bilinear
    with aligned corners); what is averaged are the softmax maps.

    Args:
        network: Normalized images float32 [B, 3, h, w] -> logits [B, C, h', w'].
        images: uint8 [B, 3, H, W] RGB.
        mean: Channel means for images in 0..1.
        std: Channel divisors for images in 0..1.
        sizes: (height, width) at which the network sees the image; None: its own size.
        flip: Average with the mirrored image, at every size.
        window: (height, width, stride) of a sliding window; None: the whole image at once.
        output_size: (height, width) of the result; None: that of the image.

    Returns:
        float32 [B, C, *output_size], sums to 1 over C.

    Raises:
        InputError: ``sizes`` is empty, or the window is not positive or leaves gaps.
    """
    own = (images.shape[-2], images.shape[-1])
    sizes = [own] if sizes is None else [(int(height), int(width)) for height, width in sizes]
    if not sizes:
        raise InputError("sizes is empty: name at least one [height, width], or leave it out.")
    normalized = normalize(images, mean, std)
    total: Tensor | None = None
    for size in sizes:
        resized = resize(normalized, size)
        for mirrored in (False, True) if flip else (False,):
            logits = window_logits(network, resized.flip(-1) if mirrored else resized, window)
            if mirrored:
                logits = logits.flip(-1)
            probabilities = resize(logits, output_size or own).softmax(1)
            total = probabilities if total is None else total.add_(probabilities)
    assert total is not None
    return total.div_(len(sizes) * (2 if flip else 1))


def window_logits(network: Network, images: Tensor, window: tuple[int, int, int] | None) -> Tensor:
    """Float32 logits: those of the whole images, or the mean of those of overlapping windows."""
    if window is None:
        return network(images).float()
    height, width, stride = window
    if min(window) < 1 or stride > min(height, width):
        raise InputError(
            f"The window [height, width, stride] = {list(window)} must be positive with a stride of at "
            "most its height and width, so that no pixel is left out."
        )
    rows, columns = images.shape[-2], images.shape[-1]
    # An image smaller than the window is padded with the mean color: a network may take no other size.
    padded = functional.pad(images, (0, max(width - columns, 0), 0, max(height - rows, 0)))
    total: Tensor | None = None
    count = padded.new_zeros(1, 1, padded.shape[-2], padded.shape[-1])
    for top in starts(padded.shape[-2], height, stride):
        for left in starts(padded.shape[-1], width, stride):
            part = (..., slice(top, top + height), slice(left, left + width))
            logits = resize(network(padded[part]).float(), (height, width))
            if total is None:
                total = logits.new_zeros(*logits.shape[:2], padded.shape[-2], padded.shape[-1])
            total[part] += logits
            count[part] += 1
    assert total is not None
    return total.div_(count)[..., :rows, :columns]


def starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows begin along a side of ``length`` >= ``window`` pixels; the last one ends with it.

    Examples:
        >>> starts(10, 4, 3)
        [0, 3, 6]
        >>> starts(11, 4, 3)
        [0, 3, 6, 7]
    """
    last = length - window
    return [*range(0, last, stride), last]


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear resize of float [B, K, H, W] with aligned corners; the maps themselves if they fit already."""
    if (maps.shape[-2], maps.shape[-1]) == size:
        return maps
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=True)
