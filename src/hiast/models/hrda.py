"""HRDA: a context view at half resolution and detail windows at full resolution (Hoyer et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models.daformer import DAFormer, DAFormerHead
from hiast.models.network import DetailLogits, TrainingPass
from hiast.upsampling import Upsampling

OUTPUT_STRIDE = 4
"""Stride of the logits."""
CORNER = 8
"""Corners of windows are multiples of this, so that they lie on the grids of the logits of both scales."""

DetailWindow = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


@dataclass(frozen=True)
class ScaleLogits:
    """Logits of one forward pass at two scales, with stride 4.

    Attributes:
        fused: Logits [B,C,H/4,W/4] of the padded images.
        detail: Logits [B,C,h/4,w/4] of the detail window alone.
        window: The detail window in the padded images.
    """

    fused: Tensor
    detail: Tensor
    window: DetailWindow


class HRDAHead(nn.Module):
    """The head that both scales share, and the head of the scale attention.

    Args:
        head: Gives logits [B,C,h,w] of four levels of features.
        scale_attention: Gives logits of the attention, of the same shape.
    """

    def __init__(self, head: nn.Module, scale_attention: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.scale_attention = scale_attention

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits and attention in 0..1, both [B,C,h,w], of four levels of features."""
        return self.head(levels), torch.sigmoid(self.scale_attention(levels))


class HRDA(DAFormer):
    """DAFormer on two scales, fused by a learned attention per class and position.

    The context is the image at half its size. In training the detail is one random window of the image at full
    size, drawn from torch's generator; otherwise the windows overlap by half and cover the image. With context
    logits c, detail logits d and attention a, which is 0 where there is no detail, the logits are
    ``up((1 - a) * c) + up(a) * d`` ("Multi-Resolution Fusion" in the paper). State-dict keys are those of the published
    checkpoints of HRDA and MIC.

    Args:
        detail: Height and width of a detail window in pixels, multiples of 32. Published is 512 for crops of 1024.
        detail_share: Share of the cross-entropy of the detail alone in the loss of source and online stages, 0..1; the
            rest is that of the fused logits (lambda_d in the paper).
        **options: Arguments of :class:`hiast.models.DAFormer`.

    Raises:
        InputError: ``detail`` or ``detail_share`` does not fit, or as for DAFormer.

    Examples:
        >>> network = HRDA(encoder="mit_b0", weights=None, num_classes=3, detail=[64, 64])
        >>> scales = network.two_scales(torch.zeros(1, 3, 128, 192), window=(64, 8, 64, 64))
        >>> scales.fused.shape, scales.detail.shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 3, 16, 16]))
    """

    stride = 64
    """The context at half the size must fit the stride 32 of the encoder."""

    def __init__(
        self, *, detail: Sequence[int] = (512, 512), detail_share: float = 0.1, **options: Any
    ) -> None:
        sides = [int(side) for side in detail]
        if len(sides) != 2 or any(side < 32 or side % 32 for side in sides):
            raise InputError(f"backbone.detail is {list(detail)}: give [height, width] in multiples of 32.")
        if not 0 <= detail_share <= 1:
            raise InputError(f"backbone.detail_share is {detail_share}; give a number from 0 to 1.")
        super().__init__(**options)
        self.detail = (sides[0], sides[1])
        self.detail_share = float(detail_share)

    def make_head(self, channels_in: Sequence[int]) -> nn.Module:
        """The head of DAFormer, and another one with a 1x1 fusion for the scale attention."""
        attention = DAFormerHead(channels_in, self.num_classes, self.channels, None, self.dropout)
        return HRDAHead(super().make_head(channels_in), attention)

    def coarse(self, images: Tensor) -> Tensor:
        """Fused logits [B,C,h,w] of the padded images before the upsampling, at a quarter of their size."""
        if self.training:
            return self.two_scales(images).fused
        padded = self.pad(images)
        context, attention = self._context(padded)
        return _fuse(context, attention, self._detail_everywhere(padded))

    def training_pass(self, images: Tensor) -> TrainingPass:
        """Fused logits, and those of the detail window alone."""
        scales = self.two_scales(images)
        top, left, *sides = scales.window
        upsampling = Upsampling.to((sides[0], sides[1]), align_corners=self.align_corners)
        return TrainingPass(
            scales.fused, DetailLogits(scales.detail, upsampling, (top, left), self.detail_share)
        )

    def two_scales(self, images: Tensor, window: DetailWindow | None = None) -> ScaleLogits:
        """Logits for training: fused, and of the detail alone.

        Args:
            images: Normalized images [B,3,H,W].
            window: Detail window in the padded images, corner in multiples of 8; None draws one.
        """
        padded = self.pad(images)
        window = window or self._draw_window(padded.shape[-2], padded.shape[-1])
        top, left, height, width = window
        context, attention = self._context(padded)
        logits = self._detail(padded[..., top : top + height, left : left + width])
        around = _outside(padded, window, OUTPUT_STRIDE)
        has_detail = F.pad(
            attention.new_ones(1, 1, height // CORNER, width // CORNER), _outside(padded, window, CORNER)
        )
        return ScaleLogits(_fuse(context, attention * has_detail, F.pad(logits, around)), logits, window)

    def encoder_images(self, images: Tensor) -> Tensor:
        """The padded images at half their size, as the context sees them."""
        return self._half(self.pad(images))

    @property
    def recipe(self) -> dict[str, Any]:
        """Class name and all arguments but the weights."""
        return super().recipe | {"detail": list(self.detail), "detail_share": self.detail_share}

    def _context(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and attention [B,C,H/8,W/8] of the images at half their size."""
        context, attention = self.decode_head(self.levels(self._half(padded)))
        return context, attention

    def _half(self, padded: Tensor) -> Tensor:
        return F.interpolate(padded, scale_factor=0.5, mode="bilinear", align_corners=False)

    def _detail(self, images: Tensor) -> Tensor:
        """Logits [B,C,h/4,w/4] of images at full size."""
        assert isinstance(self.decode_head, HRDAHead)
        logits: Tensor = self.decode_head.head(self.levels(images))
        return logits

    def _draw_window(self, height: int, width: int) -> DetailWindow:
        sides = min(self.detail[0], height), min(self.detail[1], width)
        top, left = (
            CORNER * int(torch.randint((whole - side) // CORNER + 1, (), device="cpu"))
            for whole, side in zip((height, width), sides, strict=True)
        )
        return top, left, *sides

    def _detail_everywhere(self, padded: Tensor) -> Tensor:
        """Mean of the logits [B,C,H/4,W/4] of windows that overlap by half."""
        height, width = padded.shape[-2:]
        tops, lefts = (_starts(whole, side) for whole, side in zip((height, width), self.detail, strict=True))
        sides = min(self.detail[0], height), min(self.detail[1], width)
        windows = [(top, left, *sides) for top in tops for left in lefts]
        crops = [padded[..., top : top + h, left : left + w] for top, left, h, w in windows]
        parts = self._detail(torch.cat(crops)).chunk(len(windows))
        placed = [_outside(padded, window, OUTPUT_STRIDE) for window in windows]
        total = torch.stack([F.pad(part, around) for part, around in zip(parts, placed, strict=True)]).sum(0)
        ones = parts[0].new_ones(1, 1, *parts[0].shape[-2:])
        return total / torch.stack([F.pad(ones, around) for around in placed]).sum(0)


def _fuse(context: Tensor, attention: Tensor, detail: Tensor) -> Tensor:
    """``up((1 - attention) * context) + up(attention) * detail`` at the size of ``detail``."""
    size = detail.shape[-2:]
    coarse, share = (
        F.interpolate(value, size=size, mode="bilinear", align_corners=False)
        for value in ((1 - attention) * context, attention)
    )
    return coarse + share * detail


def _outside(padded: Tensor, window: DetailWindow, stride: int) -> tuple[int, int, int, int]:
    """Cells of a grid with ``stride`` left of, right of, above and below the window, as ``F.pad`` takes them."""
    top, left, height, width = window
    right, bottom = padded.shape[-1] - left - width, padded.shape[-2] - top - height
    return left // stride, right // stride, top // stride, bottom // stride


def _starts(whole: int, side: int) -> list[int]:
    """Starts of windows of ``side`` that overlap by half; the last one ends at ``whole``."""
    if whole <= side:
        return [0]
    return [*range(0, whole - side, side // 2), whole - side]
