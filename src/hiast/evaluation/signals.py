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


def agreement(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Share of pixels with equal labels among those that both label maps keep, in 0..1.

    Between the pseudo-labels of two rounds it says how much the teacher still changes its mind.

    Args:
        a: uint8 [..., H, W], 255 = ignored.
        b: Another label map of the same shape.

    Returns:
        The share; NaN when no pixel is kept by both.

    Raises:
        InputError: The shapes differ.
    """
    if a.shape != b.shape:
        raise InputError(f"Label maps {list(a.shape)} and {list(b.shape)} differ in shape.")
    kept = (a != IGNORED) & (b != IGNORED)
    count = int(np.count_nonzero(kept))
    return int(np.count_nonzero((a == b) & kept)) / count if count else math.nan
