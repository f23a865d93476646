"""Counts of float16 confidences, and exact quantiles of them, on the device and without waiting for it.

Rounded to float16, a confidence in 0..1 takes one of 15,361 values whose bit patterns are consecutive integers
(their codes) in the order of the values. Counts of the codes hold all that a quantile needs, add up over images
and processes in any order, and have a fixed size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hiast.upsampling import to_double

CODES = 0x3C01
"""Number of float16 values from 0 to 1, both included."""


def code_values(device: torch.device) -> Tensor:
    """The confidence of each code, float64 [CODES], ascending from 0 to 1."""
    return to_double(torch.arange(CODES, dtype=torch.int16, device=device).view(torch.float16))


def count_confidences(
    confidence: Tensor, prediction: Tensor, num_classes: int, valid: Tensor | None = None
) -> Tensor:
    """Pixels of each class and code in each image.

    Args:
        confidence: Floating [B,H,W] in 0..1; other floating types than float32 are used as float32.
        prediction: Integer [B,H,W] below ``num_classes``.
        num_classes: C.
        valid: Bool [B,H,W], pixels that count; None counts all.

    Returns:
        int64 [B,C,CODES].
    """
    batch = len(confidence)
    # On a GPU nobody looks at the values: a confidence that is not a number must not write out of bounds.
    code = confidence.detach().float().half().view(torch.int16).clamp(0, CODES - 1)
    image = torch.arange(batch, device=code.device).view(-1, 1, 1)
    cell = ((image * num_classes + prediction) * CODES + code).flatten()
    each = torch.ones((), dtype=torch.int64, device=code.device).expand(cell.shape)
    if valid is not None:
        each = valid.flatten().long()
    # One dimension: the form that is deterministic on request on CUDA.
    counts = torch.zeros(batch * num_classes * CODES, dtype=torch.int64, device=code.device)
    return counts.scatter_add_(0, cell, each).view(batch, num_classes, CODES)


def quantile_with(counts: Tensor, level: Tensor, extra: Tensor) -> Tensor:
    """Linear quantile of each class's confidences and one more element, as ``numpy.quantile`` in float64.

    Args:
        counts: int64 [C,CODES], see :func:`count_confidences`.
        level: float64 [C] in 0..1.
        extra: float64 [C] in 0..1, the one more element of each class's multiset.

    Returns:
        float64 [C]; ``extra`` for a class without pixels.
    """
    values = code_values(counts.device)
    up_to = counts.cumsum(1)
    size = up_to[:, -1] + 1
    column = torch.searchsorted(values, extra)
    below = up_to.gather(1, (column - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
    before = torch.where(column > 0, below, 0)

    def element(rank: Tensor) -> Tensor:
        own = (rank - (rank > before).long()).unsqueeze(1)
        found = torch.searchsorted(up_to, own, right=True).squeeze(1).clamp(max=CODES - 1)
        return torch.where(rank == before, extra, values[found])

    position = (size - 1) * level
    lower = torch.minimum(position.floor().long(), size - 1)
    low, high = element(lower), element(torch.minimum(lower + 1, size - 1))
    # numpy's order of operations: another one differs in the last bit.
    weight, difference = position - lower, high - low
    return torch.where(weight >= 0.5, high - difference * (1 - weight), low + difference * weight)


def at_least(confidence: Tensor, prediction: Tensor, thresholds: Tensor) -> Tensor:
    """Bool [B,H,W]: confidence >= threshold of the predicted class, compared exactly.

    Args:
        confidence: Floating [B,H,W]; used as float32.
        prediction: Integer [B,H,W] below C.
        thresholds: float64 [C].
    """
    # For a float32 c, c >= t in float64 is c >= (the smallest float32 not below t): exact, with half the memory.
    limits = thresholds.float()
    above = torch.nextafter(limits, torch.full_like(limits, 2.0))
    limits = torch.where(limits.to(thresholds.dtype) < thresholds, above, limits)
    limit = limits.index_select(0, prediction.flatten().int()).view(prediction.shape)
    return confidence.float() >= limit
