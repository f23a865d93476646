"""Signals that need no label, to watch or select models where target labels may not be read."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiast.classes import IGNORED
from hiast.errors import InputError


def mean_entropy(probabilities: Tensor) -> Tensor:
    """Mean over pixels of ``-sum_k p_k log p_k / log C``: 0 = certain everywhere, 1 = uniform everywhere.

    Args:
        probabilities: float [B, C, H, W] that sum to 1 over C >= 2 classes; zeros are allowed.

    Returns:
        Scalar float32 tensor on the device of ``probabilities``.
    """
    entropies: Tensor = torch.special.entr(probabilities.float()).sum(1)
    return entropies.mean() / math.log(probabilities.shape[1])


def overlap(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Pixels that both label maps give the same label, as a share of those that either of them keeps, in 0..1.

    Between the pseudo-labels of two rounds it says how much the labels still change: a pixel that is kept in one round
    alone counts as a change, as one with another label does.
    Pixels that both keep hardly ever change their label.

    Args:
        a: uint8 [..., H, W], 255 = ignored.
        b: Another label map of the same shape.

    Returns:
        The share (Jaccard index of the labeled pixels); NaN when no pixel is kept by either.

    Raises:
        InputError: The shapes differ.

    Examples:
        >>> import numpy as np
        >>> overlap(np.array([[0, 1, 255]], np.uint8), np.array([[0, 1, 1]], np.uint8))
        0.6666666666666666
    """
    if a.shape != b.shape:
        raise InputError(f"Label maps {list(a.shape)} and {list(b.shape)} differ in shape.")
    either = int(np.count_nonzero((a != IGNORED) | (b != IGNORED)))
    return int(np.count_nonzero((a == b) & (a != IGNORED))) / either if either else math.nan
