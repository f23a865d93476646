"""Losses to the labels of an online teacher: hard classes or whole distributions, weighted pixel by pixel."""

from __future__ import annotations

import torch
from torch import Tensor

from hiast.classes import IGNORED


def soft_cross_entropy(logits: Tensor, probabilities: Tensor, weights: Tensor) -> Tensor:
    """Sum over the pixels of weight * -sum_c q_c log p_c, divided by the number of pixels.

    Computed in float32 (float64 for float64 logits), also under autocast.

    Args:
        logits: Floating [B,C,H,W], the logits z of the student; p = softmax(z).
        probabilities: Floating [B,C,H,W], the distribution q of the teacher, taken as a constant.
        weights: Floating [B,H,W], 0 or more, taken as constants.

    Returns:
        A scalar, natural log.
    """
    precise = logits if logits.dtype == torch.float64 else logits.float()
    values = -(probabilities.detach().to(precise.dtype) * torch.log_softmax(precise, dim=1)).sum(1)
    return (values * weights.detach().to(precise.dtype)).sum() / max(weights.numel(), 1)


def soft_weights(labels: Tensor, weights: Tensor, pasted: Tensor) -> tuple[Tensor, Tensor]:
    """Divide the pixels of mixed images among the two losses.

    Args:
        labels: uint8 [B,H,W], 255 = ignored.
        weights: Floating [B,H,W].
        pasted: Bool [B,H,W], pixels of the source.

    Returns:
        Weights of the loss to labels (pasted pixels), and of the loss to the distributions of the teacher (the other
        pixels that have a label).
    """
    hard = torch.where(pasted, weights, 0.0)
    soft = torch.where(pasted | labels.eq(IGNORED), 0.0, weights)
    return hard, soft
