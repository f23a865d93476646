"""The two confidence regularizers of self-training (Zou et al. 2019; Mei et al. 2020, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from hiast.objectives.regions import region_mask, region_mean


def kld_confident(log_probabilities: Tensor, labels: Tensor, divisor: int | None = None) -> Tensor:
    """Divergence from the uniform distribution on confident pixels; guards against overfitting pseudo-labels.

    -(1/C) * sum of log p over confident pixels and classes / (N_confident * C); C divides twice, as
    published.

    Args:
        log_probabilities: Float [B,C,H,W], log-softmax over C.
        labels: uint8 [B,H,W], 255 = ignored.
        divisor: Number that takes the place of both C; None is C.

    Returns:
        A scalar; 0 with a zero gradient if no pixel is confident.
    """
    divisor = divisor or log_probabilities.shape[1]
    return region_mean(-log_probabilities.sum(1) / divisor**2, region_mask(labels, "confident"))


def entropy_ignored(log_probabilities: Tensor, labels: Tensor, divisor: int | None = None) -> Tensor:
    """Entropy on ignored pixels, which sharpens predictions where there is no pseudo-label.

    -sum of p log p over ignored pixels and classes / (N_ignored * C), natural log. A class with p = 0 adds 0.

    Args:
        log_probabilities: Float [B,C,H,W], log-softmax over C.
        labels: uint8 [B,H,W], 255 = ignored.
        divisor: Number that takes the place of C; None is C.

    Returns:
        A scalar; 0 with a zero gradient if no pixel is ignored.
    """
    divisor = divisor or log_probabilities.shape[1]
    entropy: Tensor = _Entropy.apply(log_probabilities)
    return region_mean(entropy / divisor, region_mask(labels, "ignored"))


class _Entropy(torch.autograd.Function):
    """-sum over classes of p log p, [B,C,H,W] to [B,H,W].

    By itself autograd would keep p beside log p at the moment when a training step needs most memory.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, log_probabilities: Tensor) -> Tensor:
        ctx.save_for_backward(log_probabilities)
        return log_probabilities.exp().mul_(log_probabilities).sum(1).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (log_probabilities,) = ctx.saved_tensors
        # d(-p log p) / d(log p) = -p (1 + log p)
        probabilities = log_probabilities.exp()
        slope: Tensor = probabilities.addcmul_(probabilities, log_probabilities)
        return slope.mul_(-gradient.unsqueeze(1))
