"""What an online teacher says about a batch of target images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from hiast.models import Teacher, batch_statistics
from hiast.online import Labeled, Trust
from hiast.training.online_settings import OnlineSettings
from hiast.upsampling import Upsampling, View, read_out


@dataclass(frozen=True)
class TeacherLabels:
    """Pseudo-labels of target images.

    Attributes:
        labeled: The images uint8 [B,3,H,W] with labels uint8 [B,H,W] and weights float32 [B,H,W].
        confidence: float32 [B,H,W], the largest probability of each pixel.
        probabilities: float32 [B,C,H,W] where labels are soft; None: they are hard.
    """

    labeled: Labeled
    confidence: Tensor
    probabilities: Tensor | None


@torch.no_grad()
def label_images(
    teacher: Teacher,
    images: Tensor,
    normalized: Tensor,
    upsampling: Upsampling,
    trust: Trust,
    settings: OnlineSettings,
    valid: Tensor | None = None,
) -> TeacherLabels:
    """Pseudo-labels of the teacher.

    Args:
        teacher: The teacher.
        images: uint8 [B,3,H,W], the weak view of the target.
        normalized: The same as the network sees them.
        upsampling: From the logits of the network to the size of the images.
        trust: Labels and weights of a prediction.
        settings: Statistics of batch normalization, mirrored views and soft labels.
        valid: Bool [B,H,W], pixels that may give pseudo-labels; None: all.
    """
    views = [View(_coarse(teacher, normalized, settings), upsampling)]
    if settings.teacher_mirror:
        views.append(View(_coarse(teacher, normalized.flip(3), settings), upsampling, mirrored=True))
    found = read_out(views)
    confidence = found.confidence.float()
    trusted = trust(confidence, found.labels, valid=valid)
    probabilities = _mean_probabilities(views) if settings.labels == "soft" else None
    return TeacherLabels(Labeled(images, trusted.labels, trusted.weights), confidence, probabilities)


def _coarse(teacher: Teacher, images: Tensor, settings: OnlineSettings) -> Tensor:
    if settings.teacher_bn == "running":
        return teacher.coarse(images)
    with batch_statistics(teacher.network):
        return teacher.coarse(images)


def _mean_probabilities(views: list[View]) -> Tensor:
    maps = [view.upsampling(view.logits.float()).softmax(1) for view in views]
    turned = [each.flip(3) if view.mirrored else each for each, view in zip(maps, views, strict=True)]
    return reduce(torch.add, turned) / len(turned)
