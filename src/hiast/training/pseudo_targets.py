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


def class_weights(pixels: Tensor, power: float, low: float = 0.2, high: float = 5.0) -> Tensor:
    """Weights of classes that balance a loss: g_k = f_k^-power, scaled so that sum f_k g_k = 1, then clipped.

    Args:
        pixels: [C], labeled pixels of each class; f_k is the share of class k. Classes without pixels weigh 1.
        power: 0 leaves all classes at weight 1; 1 gives all classes the same sum of weights.
        low: Least weight.
        high: Largest weight.

    Returns:
        float32 [C].

    Example:
        >>> class_weights(torch.tensor([900.0, 100.0]), 0.5)
        tensor([0.7906, 2.3717])
        >>> class_weights(torch.tensor([900.0, 100.0]), 0.0)
        tensor([1., 1.])
    """
    shares = pixels.double() / pixels.double().sum().clamp(min=1)
    raw = torch.where(shares > 0, shares.clamp(min=1e-12) ** -power, 0.0)
    scale = (shares * raw).sum().clamp(min=1e-12)
    return torch.where(shares > 0, (raw / scale).clamp(low, high), 1.0).float()


def weights_of(labels: Tensor, weights: Tensor) -> Tensor:
    """The weight of the class of each pixel, float32 [B,H,W]; 0 for ignored pixels.

    Args:
        labels: uint8 [B,H,W], class index or 255.
        weights: float32 [C].
    """
    table = torch.zeros(IGNORED + 1, device=labels.device)
    table[: len(weights)] = weights.to(labels.device)
    return table[labels.long()]
