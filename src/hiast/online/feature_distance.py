"""Feature distance: the student's encoder stays near the frozen pretrained one while it adapts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiast.classes import IGNORED
from hiast.errors import InputError
from hiast.online.checks import check_shares


class FrozenEncoder(nn.Module):
    """A copy of an encoder that never changes and stays in eval mode.

    Args:
        encoder: Encoder with its pretrained weights: images [B,3,H,W] in, one feature map [B,D,h,w] or a sequence of
            them out, of which the last is the deepest.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """The deepest feature map [B,D,h,w] of normalized images [B,3,H,W], without gradients."""
        return deepest(self.encoder(images))

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stay in eval mode whatever ``mode`` says."""
        return super().train(False)


def deepest(features: Any) -> Tensor:
    """The last of a sequence of feature maps, or the only one; behind the maps some encoders give tokens."""
    if isinstance(features, Sequence) and isinstance(features[0], Sequence):
        features = features[0]
    found: Tensor = features[-1] if isinstance(features, Sequence) else features
    return found


def class_positions(
    labels: Tensor, classes: Sequence[int], height: int, width: int, share: float = 0.75
) -> Tensor:
    """Positions of a coarse grid where one of some classes fills at least ``share`` of the cell.

    Args:
        labels: uint8 [B,H,W], 255 = ignored; ignored pixels count as filled by none of the classes.
        classes: Class indices.
        height: Rows h of the grid.
        width: Columns w of the grid.
        share: Above 0.5, at most 1, so that at most one class fills a cell.

    Returns:
        Bool [B,h,w].

    Raises:
        InputError: ``share`` is out of range or a class index is not from 0 to 254.
    """
    _check_things(classes, share)
    found = torch.zeros(len(labels), height, width, dtype=torch.bool, device=labels.device)
    for index in classes:
        filled = F.adaptive_avg_pool2d(labels.eq(index).float().unsqueeze(1), (height, width)).squeeze(1)
        # A share of exactly 3/4 must not be missed by the rounding of a mean.
        found |= filled >= share - 1e-5
    return found


@dataclass(frozen=True)
class ThingFeatureDistance:
    """Mean distance ||student - reference||_2 over the positions of thing classes on source images.

    Source: DAFormer, Hoyer et al. 2022, section 3.3 (weight 0.005 in the loss). Positions are those of the last
    encoder stage where one thing class fills at least ``share`` of the pixels beneath.

    Args:
        things: Indices of the thing classes. Of Cityscapes' 19 published: 6, 7 and 11 to 18.
        share: Above 0.5, at most 1 (published 0.75).

    Raises:
        InputError: A setting is out of range.
    """

    things: tuple[int, ...]
    share: float = 0.75

    def __post_init__(self) -> None:
        object.__setattr__(self, "things", tuple(int(k) for k in self.things))
        _check_things(self.things, self.share)

    def __call__(self, features: Tensor, reference: Tensor, labels: Tensor) -> Tensor:
        """The mean distance, float32 (float64 for float64 features); 0 with a zero gradient without positions.

        Args:
            features: Floating [B,D,h,w] of any precision, the student's last encoder stage on source images.
            reference: Floating [B,D,h,w], the frozen encoder's on the same images; taken as constants.
            labels: uint8 [B,H,W], labels of the images, 255 = ignored.

        Raises:
            InputError: Shapes do not fit.
        """
        if features.ndim != 4 or features.shape != reference.shape or len(labels) != len(features):
            raise InputError(
                f"feature distance: features {list(features.shape)}, reference {list(reference.shape)} and labels "
                f"{list(labels.shape)} do not fit together; for encoders of different sizes use the projected one."
            )
        precise = features if features.dtype == torch.float64 else features.float()
        positions = class_positions(labels, self.things, features.shape[2], features.shape[3], self.share)
        # The norm's gradient where student and reference are equal, as before the first step, is 0.
        distance = torch.linalg.vector_norm(precise - reference.detach().to(precise.dtype), dim=1)
        return torch.where(positions, distance, 0).sum() / positions.sum().clamp(min=1)


class ProjectedFeatureDistance(nn.Module):
    """Distance of the student's projected features to those of a frozen encoder of any other kind.

    Projection: 1x1 convolution, layer normalization over channels, GELU, 1x1 convolution; the result is resized
    (bilinear) to the reference's grid. Loss: mean over all positions of smooth_l1 * (mean over channels of the smooth
    L1 distance) + cosine * (1 - cosine similarity). Source: VFM-UDA++, Englert et al. 2025 (0.1, 0.9 and a weight of
    0.1 each on source and target images; the head learns at the decoder's rate).

    Args:
        student_channels: Channels of the student's features.
        reference_channels: Channels of the frozen encoder's.
        expansion: Channels between the two convolutions, in multiples of ``student_channels``.
        smooth_l1: Weight of the smooth L1 distance, 0 to 1.
        cosine: Weight of the cosine distance, 0 to 1.

    Raises:
        InputError: A setting is out of range.
    """

    def __init__(
        self,
        student_channels: int,
        reference_channels: int,
        expansion: int = 4,
        smooth_l1: float = 0.1,
        cosine: float = 0.9,
    ) -> None:
        super().__init__()
        check_shares("feature distance", smooth_l1=smooth_l1, cosine=cosine)
        if min(student_channels, reference_channels, expansion) < 1:
            raise InputError(
                f"feature distance: {student_channels} and {reference_channels} channels and an expansion of "
                f"{expansion} are not possible; all must be 1 or more."
            )
        self.smooth_l1, self.cosine = smooth_l1, cosine
        hidden = student_channels * expansion
        self.expand = nn.Conv2d(student_channels, hidden, 1)
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Conv2d(hidden, reference_channels, 1)

    def forward(self, features: Tensor, reference: Tensor) -> Tensor:
        """The mean distance, a scalar in float32.

        Args:
            features: Floating [B,D,h,w], the student's.
            reference: Floating [B,E,h',w'], the frozen encoder's; taken as constants.

        Raises:
            InputError: The batches differ, or channels are not those that the projection was made for.
        """
        wanted = (self.expand.in_channels, self.project.out_channels)
        if len(features) != len(reference) or (features.shape[1], reference.shape[1]) != wanted:
            raise InputError(
                f"feature distance: features {list(features.shape)} and reference {list(reference.shape)} do not fit "
                f"a projection from {wanted[0]} to {wanted[1]} channels."
            )
        normalized = self.norm(self.expand(features).movedim(1, -1)).movedim(-1, 1)
        projected = self.project(F.gelu(normalized)).float()
        projected = F.interpolate(projected, reference.shape[2:], mode="bilinear", align_corners=False)
        fixed = reference.detach().float()
        near = F.smooth_l1_loss(projected, fixed, reduction="none").mean(1)
        angle = 1 - F.cosine_similarity(projected, fixed, dim=1)
        return (self.smooth_l1 * near + self.cosine * angle).mean()


def _check_things(classes: Sequence[int], share: float) -> None:
    if not 0.5 < share <= 1:
        raise InputError(f"feature distance: share is {share}; it must lie above 0.5 and at most at 1.")
    if not all(0 <= index < IGNORED for index in classes):
        raise InputError(f"feature distance: things are {list(classes)}; give class indices from 0 to 254.")
