"""Losses: plain functions of logits and label maps, and the weighted sum of self-training."""

from __future__ import annotations

from hiast.objectives.adversarial import adversarial_loss, discriminator_input, normalized_entropy
from hiast.objectives.consistency import consistency
from hiast.objectives.cross_entropy import cross_entropy, source_cross_entropy
from hiast.objectives.fused.cross_entropy import coarse_cross_entropy
from hiast.objectives.hiast import HIASTLoss
from hiast.objectives.regions import region_mask, region_mean
from hiast.objectives.regularizers import entropy_ignored, kld_confident

__all__ = [
    "HIASTLoss",
    "adversarial_loss",
    "coarse_cross_entropy",
    "consistency",
    "cross_entropy",
    "discriminator_input",
    "entropy_ignored",
    "kld_confident",
    "normalized_entropy",
    "region_mask",
    "region_mean",
    "source_cross_entropy",
]
