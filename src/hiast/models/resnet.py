"""The dilated ResNet under DeepLab: torchvision's architecture and key names, stride 8 instead of 32."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride and the dilation) and 1x1 convolution around a shortcut (He et al. 2016).

    Args:
        channels_in: Channels of the input.
        width: Channels of the 3x3 convolution; the output has four times as many.
        stride: Stride of the 3x3 convolution and of the shortcut.
        dilation: Dilation of the 3x3 convolution.
        projected: Whether a 1x1 convolution adapts the shortcut.
    """

    def __init__(self, channels_in: int, width: int, stride: int, dilation: int, projected: bool) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
            if projected
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,channels_in,H,W] to [B,4*width,ceil(H/stride),ceil(W/stride)]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        out: Tensor = self.relu(x.add_(shortcut))
        return out


class DilatedResNet(nn.Module):
    """ResNet whose last two stages keep the resolution and widen their view by dilation 2 and 4.

    The first block of a dilated stage still has the dilation of the stage before, as in torchvision.

    Args:
        layers: Blocks of each of the four stages; (3, 4, 23, 3) is ResNet-101.
        width: Channels of the stem.
    """

    def __init__(self, layers: Sequence[int] = (3, 4, 23, 3), width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        wide = width * EXPANSION
        self.layer1 = _stage(layers[0], width, width)
        self.layer2 = _stage(layers[1], wide, 2 * width, stride=2)
        self.layer3 = _stage(layers[2], 2 * wide, 4 * width, first_dilation=1, dilation=2)
        self.layer4 = _stage(layers[3], 4 * wide, 8 * width, first_dilation=2, dilation=4)
        self.channels_out = 8 * wide
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Features [B,32*width,ceil(H/8),ceil(W/8)] of ``images`` [B,3,H,W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer2(self.layer1(x))
        features: Tensor = self.layer4(self.layer3(x))
        return features


def _stage(
    blocks: int, channels_in: int, width: int, stride: int = 1, first_dilation: int = 1, dilation: int = 1
) -> nn.Sequential:
    first = Bottleneck(channels_in, width, stride, first_dilation, projected=True)
    others = (Bottleneck(width * EXPANSION, width, 1, dilation, projected=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *others)
