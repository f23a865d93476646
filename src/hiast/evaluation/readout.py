"""Labels, confidence, entropy and confusion of images in one pass from a network's coarse logits.

It gives what ``predict_probabilities``, ``argmax``, ``mean_entropy`` and ``confusion_matrix`` give one after the
other, without a tensor [B,C,H,W].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.evaluation.inference import Size, resize, window_logits
from hiast.evaluation.metrics import confusion_matrix
from hiast.upsampling import ReadOut, Upsampling, View, read_out


class CoarseNetwork(Protocol):
    """What a read-out needs of a network; ``hiast.models.SegmentationNetwork`` has it."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] of normalized images [B,3,H,W]."""

    def coarse(self, images: Tensor) -> Tensor:
        """Logits [B,C,h,w] before their upsampling."""

    def upsampling(self, height: int, width: int) -> Upsampling:
        """From the coarse logits of images of this size to their logits."""


class Evaluation(NamedTuple):
    """What a network says of labeled images.

    Attributes:
        read_out: Labels, confidence and entropy.
        matrix: int64 [C,C] pixels; row = label, column = prediction.
    """

    read_out: ReadOut
    matrix: Tensor


@torch.no_grad()
def coarse_views(
    network: CoarseNetwork,
    images: Tensor,
    *,
    sizes: Sequence[Size] | None = None,
    flip: bool = False,
    window: tuple[int, int, int] | None = None,
    output_size: Size | None = None,
) -> list[View]:
    """What a network sees of images at several sizes, mirrored or in windows, to be read out.

    Args:
        network: Network in eval mode.
        images: Normalized, float [B,3,H,W].
        sizes: (height, width) at which the network sees the images; None: their own size.
        flip: See the mirrored images too, at every size.
        window: (height, width, stride) of a sliding window; None: the whole image at once.
        output_size: (height, width) of the result; None: that of the images.

    Returns:
        A view for each size, and for each mirrored one. The mean of their softmax maps is what
        ``predict_probabilities`` returns for the same arguments.

    Raises:
        InputError: ``sizes`` is empty, or the window is not positive or leaves gaps.
    """
    own = (images.shape[-2], images.shape[-1])
    wanted = [own] if sizes is None else [(int(height), int(width)) for height, width in sizes]
    if not wanted:
        raise InputError("sizes is empty: name at least one [height, width], or leave it out.")
    views = []
    for size in wanted:
        resized = resize(images, size)
        upsampling = network.upsampling(*size) if window is None else Upsampling.to(size)
        upsampling = upsampling.then(output_size or own)
        for mirrored in (False, True) if flip else (False,):
            seen = resized.flip(-1) if mirrored else resized
            logits = network.coarse(seen) if window is None else window_logits(network, seen, window)
            views.append(View(logits, upsampling, mirrored))
    return views


@torch.no_grad()
def evaluate(
    network: CoarseNetwork,
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    sizes: Sequence[Size] | None = None,
    flip: bool = False,
    window: tuple[int, int, int] | None = None,
) -> Evaluation:
    """Read out labeled images at the size of their labels and count.

    Args:
        network: Network in eval mode.
        images: Normalized, float [B,3,h,w].
        labels: uint8 [B,H,W], classes or 255 = not counted.
        num_classes: C.
        sizes: See ``coarse_views``.
        flip: See ``coarse_views``.
        window: See ``coarse_views``.

    Raises:
        InputError: See ``coarse_views`` and ``confusion_matrix``.
    """
    output = (labels.shape[-2], labels.shape[-1])
    views = coarse_views(network, images, sizes=sizes, flip=flip, window=window, output_size=output)
    found = read_out(views, entropy=True)
    return Evaluation(found, confusion_matrix(found.labels, labels, num_classes))
