"""DAFormer: a context-aware head over any hierarchical encoder (Hoyer et al., CVPR 2022)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import encoders
from hiast.models.depths import encoder_depths
from hiast.models.meta import create
from hiast.models.network import SegmentationNetwork
from hiast.upsampling import Upsampling

DILATIONS = (1, 6, 12, 18)


class DAFormerHead(nn.Module):
    """Fuses four levels of features at the largest resolution.

    Each level is projected to ``channels`` and upsampled to the first; the levels are concatenated and fused by
    parallel depthwise-separable convolutions with different dilations, without image pooling. Parameters have the
    names of the published checkpoints.

    Args:
        channels_in: Channels of the four levels, the largest resolution first.
        num_classes: Classes C of the logits.
        channels: Channels of each projected level and of the fused features.
        dilations: Dilations of the parallel convolutions; None fuses by a single 1x1 convolution, as the scale
            attention of HRDA does.
        dropout: Probability that a fused channel is dropped in training.
    """

    def __init__(
        self,
        channels_in: Sequence[int],
        num_classes: int,
        channels: int = 256,
        dilations: Sequence[int] | None = DILATIONS,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.embed_layers = nn.ModuleDict(
            {str(level): LevelProjection(width, channels) for level, width in enumerate(channels_in)}
        )
        together = channels * len(channels_in)
        self.fuse_layer = (
            conv_norm_relu(together, channels, 1)
            if dilations is None
            else SeparableASPP(together, channels, dilations)
        )
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.bias)  # type: ignore[arg-type]

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Logits [B,C,h,w] of levels [B,channels_in[i],h/2^i,w/2^i]."""
        projected = [
            projection(level) for projection, level in zip(self.embed_layers.values(), levels, strict=True)
        ]
        size = levels[0].shape[-2:]
        projected[1:] = [
            F.interpolate(level, size=size, mode="bilinear", align_corners=False) for level in projected[1:]
        ]
        logits: Tensor = self.conv_seg(self.dropout(self.fuse_layer(torch.cat(projected, dim=1))))
        return logits


class LevelProjection(nn.Module):
    """The same linear map at every position."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels_in, channels_out)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B,channels_in,h,w] to [B,channels_out,h,w]."""
        projected: Tensor = self.proj(features.permute(0, 2, 3, 1))
        return projected.permute(0, 3, 1, 2)


class SeparableASPP(nn.Module):
    """Parallel depthwise-separable 3x3 convolutions with different dilations, fused by a 3x3 convolution.

    Dilation 1 stands for a plain 1x1 convolution, as in DeepLab-v3+.
    """

    def __init__(self, channels_in: int, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.aspp_modules = nn.ModuleList(
            conv_norm_relu(channels_in, channels, 1)
            if dilation == 1
            else nn.Sequential(
                OrderedDict(
                    depthwise_conv=conv_norm_relu(channels_in, channels_in, 3, dilation, groups=channels_in),
                    pointwise_conv=conv_norm_relu(channels_in, channels, 1),
                )
            )
            for dilation in dilations
        )
        self.bottleneck = conv_norm_relu(len(dilations) * channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Map [B,channels_in,h,w] to [B,channels,h,w]."""
        fused: Tensor = self.bottleneck(torch.cat([branch(features) for branch in self.aspp_modules], dim=1))
        return fused


class DAFormer(SegmentationNetwork):
    """A hierarchical encoder with the head of DAFormer; images of any size are padded to the stride 32.

    State-dict keys are those of the published checkpoints without their prefix: ``backbone.*`` and
    ``decode_head.*``.

    Args:
        encoder: Encoder of segmentation-models-pytorch (``mit_b5``), or of timm with the prefix ``tu-``, with
            features at the strides 4, 8, 16 and 32.
        weights: See :class:`hiast.models.SmpNetwork`.
        num_classes: Classes C of the logits.
        channels: Channels of the head.
        dilations: Dilations of the head.
        dropout: Probability that a channel is dropped before the classifier in training.
        mean: Input mean per channel for images in 0..1; None takes the encoder's own.
        std: Input divisor per channel, likewise.
        **options: Further plain options of an encoder of timm (``drop_path_rate=0.1``).

    Raises:
        InputError: A name or option is unknown, the encoder is not hierarchical, or weights cannot be had or do
            not fit.

    Examples:
        >>> import torch
        >>> network = DAFormer("mit_b0", weights=None, num_classes=3)
        >>> network(torch.zeros(1, 3, 50, 70)).shape, network.coarse(torch.zeros(1, 3, 50, 70)).shape
        (torch.Size([1, 3, 50, 70]), torch.Size([1, 3, 16, 24]))
    """

    align_corners = False
    stride = 32
    """Images are padded to multiples of this."""

    def __init__(
        self,
        encoder: str = "mit_b5",
        weights: str | Path | None = "imagenet",
        num_classes: int = 19,
        channels: int = 256,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.1,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.encoder_name, self.num_classes, self.channels = encoder, num_classes, channels
        self.dilations, self.dropout = tuple(int(value) for value in dilations), float(dropout)
        self.options = {key: encoders.plain(value, key) for key, value in options.items()}
        downloaded = encoders.downloaded(weights, encoder)
        self.backbone = _hierarchical_encoder(encoder, downloaded, self.options)
        self.decode_head = self.make_head(list(self.backbone.out_channels)[-4:])  # type: ignore[arg-type]
        self.mean, self.std = encoders.input_settings(encoder, downloaded, mean, std)
        encoders.load_encoder(self.backbone, encoder, weights, self.options)

    def make_head(self, channels_in: Sequence[int]) -> nn.Module:
        """The head over levels of ``channels_in`` channels."""
        return DAFormerHead(channels_in, self.num_classes, self.channels, self.dilations, self.dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] at the size of the normalized ``images`` [B,3,H,W].

        The images are padded with zeros (the mean color) at the right and the bottom to multiples of the stride.
        """
        return self.upsampling(*images.shape[-2:])(self.coarse(images))

    def upsampling(self, height: int, width: int) -> Upsampling:
        """From coarse logits to the padded image, of which the image's own part is kept."""
        size = (height + -height % self.stride, width + -width % self.stride)
        return Upsampling.to(size, align_corners=self.align_corners, kept=(height, width))

    def coarse(self, images: Tensor) -> Tensor:
        """Logits [B,C,h,w] of the padded images before the upsampling, at a quarter of their size."""
        logits: Tensor = self.decode_head(self.levels(self.pad(images)))
        return logits

    def pad(self, images: Tensor) -> Tensor:
        """``images`` with zeros at the right and the bottom up to multiples of the stride."""
        height, width = images.shape[-2:]
        return F.pad(images, (0, -width % self.stride, 0, -height % self.stride))

    def encoder_images(self, images: Tensor) -> Tensor:
        """The padded images."""
        return self.pad(images)

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Size to which ``pad`` pads images of (``height``, ``width``)."""
        return height + -height % self.stride, width + -width % self.stride

    def levels(self, images: Tensor) -> list[Tensor]:
        """Features of padded images at the strides 4, 8, 16 and 32."""
        return list(self.backbone(images))[-4:]

    @property
    def encoder(self) -> nn.Module:
        """The encoder; its forward pass returns feature maps, the last with the largest stride."""
        return self.backbone

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the encoder."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the head."""
        return self.decode_head.parameters()

    def parameter_depths(self) -> dict[str, int]:
        """Depth of every parameter of the encoder, by name; see ``SegmentationNetwork.parameter_depths``."""
        return encoder_depths(self.backbone, self.encoder_name, self.options, prefix="backbone.")

    @property
    def recipe(self) -> dict[str, Any]:
        """Class name and all arguments but the weights."""
        return {
            "network": type(self).__name__,
            "encoder": self.encoder_name,
            "num_classes": self.num_classes,
            "channels": self.channels,
            "dilations": list(self.dilations),
            "dropout": self.dropout,
            "mean": list(self.mean),
            "std": list(self.std),
            "options": dict(self.options),
        }


def conv_norm_relu(
    channels_in: int, channels_out: int, kernel: int, dilation: int = 1, *, groups: int = 1
) -> nn.Sequential:
    """Convolution that keeps the size, batch normalization and ReLU."""
    conv = nn.Conv2d(
        channels_in,
        channels_out,
        kernel,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(
        OrderedDict(conv=conv, bn=nn.BatchNorm2d(channels_out), activate=nn.ReLU(inplace=True))
    )


def _hierarchical_encoder(encoder: str, weights: str | None, options: dict[str, Any]) -> nn.Module:
    from segmentation_models_pytorch.encoders import get_encoder

    encoders.check_encoder(encoder, options, known=set())
    title = f"A network over the encoder {encoder}"
    with encoders.building(title, encoder, weights):
        wanted = encoders.library_weights(encoder, weights)
        backbone = create(lambda: get_encoder(encoder, weights=wanted, **options))
    if backbone.output_stride != 32 or len(backbone.out_channels) != 6:  # type: ignore[arg-type]
        raise InputError(f"{title} needs features at the strides 4, 8, 16 and 32; choose another encoder.")
    return backbone
