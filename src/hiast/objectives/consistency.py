"""Consistency of the student with its teacher, by soft cross-entropy."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hiast.errors import InputError
from hiast.objectives.regions import Region, region_mask, region_sum

Denominator = Literal["nonzero", "all"]
"""What the sum is divided by: the products that are not zero (published), or all products."""

DENOMINATORS: tuple[Denominator, ...] = ("nonzero", "all")


def consistency(
    log_probabilities: Tensor,
    teacher_probabilities: Tensor,
    labels: Tensor,
    region: Region = "ignored",
    denominator: Denominator = "nonzero",
) -> Tensor:
    """Mean of the products -q_k log p_k over the pixels of ``region`` and all classes.

    With ``"nonzero"`` the sum is divided by the number of products that are not zero. Where q_k
    underflows or p_k rounds to 1 that is fewer than N * C, so the value depends on the precision;
    ``"all"`` divides by N * C.

    Args:
        log_probabilities: Float [B,C,H,W], log-softmax over C of the student's logits.
        teacher_probabilities: Float [B,C,H,W], taken as constants.
        labels: uint8 [B,H,W], 255 = ignored.
        region: Pixels that count.
        denominator: What the sum is divided by.

    Returns:
        A scalar, natural log; 0 with a zero gradient if the region is empty.

    Raises:
        InputError: An unknown region or denominator, or the shapes differ.
    """
    if denominator not in DENOMINATORS:
        raise InputError(f"denominator is {denominator!r}; choose one of {', '.join(DENOMINATORS)}.")
    if teacher_probabilities.shape != log_probabilities.shape:
        raise InputError(
            f"Teacher probabilities {tuple(teacher_probabilities.shape)} and student logits "
            f"{tuple(log_probabilities.shape)} differ in shape; both see the same window."
        )
    mask = region_mask(labels, region)
    products = teacher_probabilities.detach().to(log_probabilities.dtype) * log_probabilities
    value = region_sum(-products.sum(1), mask)
    if denominator == "nonzero":
        # The backward pass does not need the products, so their memory takes the comparison: a tenth of the time of
        # the 0-norm, and without the full-size int64 copy of count_nonzero.
        held = products.detach()
        count = region_sum(torch.ne(held, 0, out=held).sum(1).long(), mask)
    else:
        count = mask.sum() * products.shape[1]
    return value / count.clamp(min=1)
