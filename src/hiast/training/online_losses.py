"""Cross-entropies of an online stage, weighted pixel by pixel: to source labels, and to the labels of the teacher."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from hiast.classes import IGNORED
from hiast.models.network import TrainingPass
from hiast.objectives.fused.cross_entropy import coarse_cross_entropy
from hiast.training.scales import Cut, loss_over_scales
from hiast.upsampling import Upsampling


def source_cross_entropy(
    passed: TrainingPass,
    labels: Tensor,
    upsampling: Upsampling,
    weights: Tensor | None,
    normalization: Literal["labeled", "all"],
) -> Tensor:
    """Cross-entropy of source images over all scales at which the network sees them.

    Args:
        passed: What the network gives for the images.
        labels: uint8 [B,H,W], 255 = ignored.
        upsampling: From the logits to the size of the labels.
        weights: Floating [B,H,W]; None: all pixels weigh alike.
        normalization: Whether it is divided by the labeled pixels or by all.

    Returns:
        A scalar, natural log.
    """

    def loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
        value: Tensor = coarse_cross_entropy(
            logits,
            cut(labels, IGNORED),
            upsampling,
            weights=None if weights is None else cut(weights, 0),
            normalization=normalization,
        )
        return value

    return loss_over_scales(passed, upsampling, loss)


def target_cross_entropy(
    passed: TrainingPass,
    labels: Tensor,
    weights: Tensor,
    upsampling: Upsampling,
    soft: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Weighted cross-entropy of mixed or masked images over all scales, divided by the number of pixels.

    Args:
        passed: What the network gives for the images.
        labels: uint8 [B,H,W], 255 = ignored.
        weights: Floating [B,H,W], weights of the labels.
        upsampling: From the logits to the size of the labels.
        soft: Distributions of the teacher, floating [B,C,H,W], and their weights, floating [B,H,W]; None: there are
            none.

    Returns:
        A scalar, natural log.
    """

    def loss(logits: Tensor, upsampling: Upsampling, cut: Cut) -> Tensor:
        hard: Tensor = coarse_cross_entropy(
            logits, cut(labels, IGNORED), upsampling, weights=cut(weights, 0), normalization="all"
        )
        if soft is None:
            return hard
        probabilities, soft_weights = soft
        return hard + soft_cross_entropy(upsampling(logits), cut(probabilities, 0), cut(soft_weights, 0))

    return loss_over_scales(passed, upsampling, loss)


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
