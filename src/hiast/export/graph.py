"""The network as one graph: uint8 images of any size in, labels, confidence and logits at their size out."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from hiast.models import DeepLabV2

MIN_SIDE = 33
"""Smallest height and width for a network that does not pad: below, its coarsest features would be single pixels."""

MAX_SIDE = 16384
"""Largest height and width of an image that a graph of any size takes."""

STRIDE = 32
"""Images are padded to multiples of this where their network does so itself."""


class ExportGraph(nn.Module):
    """What is exported: normalization, network, and what is read off its logits.

    Args:
        network: Normalized images [B, 3, h, w] -> logits [B, C, h, w]; it is copied.
        mean: Channel means for images in 0..1.
        std: Channel divisors for images in 0..1.
        outputs: Some of "labels", "confidence", "logits".
        size: (height, width) to which images are resized before the network; None: their own size.
        half: Whether the network computes with 16 bits; normalization and softmax keep 32.
        any_size: Whether the height and width of images may differ from those of the example.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        outputs: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        half: bool = False,
        any_size: bool = True,
    ) -> None:
        super().__init__()
        network = (
            copy.deepcopy(network).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
        )
        self.half_precision = half
        # DeepLab-v2 is the one that does not pad: borders of its features would change.
        self.pads = any_size and size is None and not isinstance(network, DeepLabV2)
        if self.pads or (size is not None and not any(side % STRIDE for side in size)):
            with_fixed_padding(network)
        self.network = network.half() if half else network
        self.outputs = tuple(outputs)
        self.size = size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).mul(255).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).mul(255).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of images uint8 [B, 3, H, W], as far as they are asked for.

        Returns:
            Labels uint8 [B, H, W], confidence float32 [B, H, W] in 0..1, logits float32 [B, C, H, W].
        """
        height, width = images.shape[-2:]
        normalized = (images.float() - self.mean) / self.std
        if self.size is not None:
            normalized = F.interpolate(normalized, self.size, mode="bilinear", align_corners=True)
        elif self.pads:
            normalized = _padded(normalized)
        logits = self.network(normalized.half() if self.half_precision else normalized).float()
        if self.size is not None:
            logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=True)
        elif self.pads:
            logits = logits[..., :height, :width]
        confidence, labels = logits.softmax(1).max(1)
        found = {"labels": labels.to(torch.uint8), "confidence": confidence, "logits": logits}
        return tuple(found[name] for name in self.outputs)


def _padded(images: Tensor) -> Tensor:
    """Images with zeros at the right and the bottom, to multiples of the stride, and to two of them at least.

    The number of multiples is taken through a tensor. torch.export then knows the padded size as 32 times a whole
    number, which it can follow through strided convolutions; of 32 * ((H + 31) // 32) it cannot say so much.
    """
    height, width = images.shape[-2:]
    rows, columns = (
        torch.full((), torch.sym_max(2, (side + STRIDE - 1) // STRIDE), dtype=torch.int64).item()
        for side in (height, width)
    )
    for count in (rows, columns):
        torch._check(count >= 2)  # type: ignore[operator]
        torch._check(count <= MAX_SIDE // STRIDE)  # type: ignore[operator]
    return F.pad(images, (0, STRIDE * columns - width, 0, STRIDE * rows - height))  # type: ignore[arg-type]


class FixedPadding(nn.Module):
    """A convolution with TensorFlow's "SAME" padding of inputs whose sides its stride divides: a constant padding."""

    def __init__(self, convolution: Conv2dSame) -> None:
        super().__init__()
        pads: list[int] = []
        sides = zip(convolution.kernel_size, convolution.stride, convolution.dilation, strict=True)
        for kernel, stride, dilation in reversed(list(sides)):
            total = max(dilation * (kernel - 1) + 1 - stride, 0)
            pads += [total // 2, total - total // 2]
        self.pads = tuple(pads)
        self.convolution = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            0,
            convolution.dilation,  # type: ignore[arg-type]
            convolution.groups,
            convolution.bias is not None,
        )
        self.convolution.weight = convolution.weight
        self.convolution.bias = convolution.bias

    def forward(self, features: Tensor) -> Tensor:
        """Map [B, C, h, w] to [B, C', h / stride, w / stride]."""
        convolved: Tensor = self.convolution(F.pad(features, self.pads))
        return convolved


def with_fixed_padding(network: nn.Module) -> None:
    """Replace, in place, convolutions of timm that compute their padding from the size of each input."""
    for name, child in list(network.named_children()):
        if isinstance(child, Conv2dSame):
            setattr(network, name, FixedPadding(child).train(network.training))
        else:
            with_fixed_padding(child)
