"""DeepLab-v2 on a dilated ResNet-101: the network of the published results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hiast.errors import InputError
from hiast.models.depths import native_depths
from hiast.models.downloads import downloading
from hiast.models.encoders import license_of, log_once
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD, SegmentationNetwork
from hiast.models.weights import load_backbone_weights, read_weights

DILATIONS = (6, 12, 18, 24)
# torchvision's first ImageNet weights, under the names that timm gives them.
IMAGENET_MODELS: dict[tuple[int, ...], str] = {
    (3, 4, 6, 3): "resnet50.tv_in1k",
    (3, 4, 23, 3): "resnet101.tv_in1k",
    (3, 8, 36, 3): "resnet152.tv_in1k",
}


class DilatedSum(nn.Module):
    """Sum of 3x3 convolutions of the same features with different dilations (ASPP of DeepLab-v2)."""

    def __init__(self, channels_in: int, channels_out: int, dilations: Sequence[int] = DILATIONS) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation)
            for dilation in dilations
        )
        for conv in self.conv2d_list:
            nn.init.normal_(conv.weight, std=0.01)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Map [B,channels_in,h,w] to [B,channels_out,h,w]."""
        total: Tensor = self.conv2d_list[0](features)
        for conv in list(self.conv2d_list)[1:]:
            total = total + conv(features)
        return total


class DeepLabV2(SegmentationNetwork):
    """DeepLab-v2 (Chen et al. 2018) with output stride 8 and bilinear upsampling of the logits.

    State-dict keys are those of the published checkpoints without their prefix: ``backbone.*`` and
    ``aspp.conv2d_list.*``.

    Args:
        num_classes: Classes C of the logits.
        pretrained: ``"imagenet"`` downloads torchvision's ImageNet weights for the backbone through timm; a
            path reads them from a file (a ResNet state dict with torchvision's key names); None starts from
            random.
        layers: Blocks of each backbone stage; the default is ResNet-101.
        width: Channels of the 3x3 convolutions of the first stage; later stages have 2, 4 and 8 times as many.
            64 is the ResNet. The stem always has 64 channels.

    Raises:
        InputError: The weights cannot be downloaded or read, or do not fit ``layers`` and ``width``.
    """

    def __init__(
        self,
        num_classes: int = 19,
        pretrained: str | Path | None = None,
        layers: Sequence[int] = (3, 4, 23, 3),
        width: int = 64,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if len(layers) != 4 or any(int(blocks) < 1 for blocks in layers):
            raise InputError(f"backbone.layers is {list(layers)}: give 4 whole numbers of at least 1.")
        if width < 1:
            raise InputError(f"backbone.width is {width}: give a whole number of at least 1.")
        self.layers, self.width = tuple(int(blocks) for blocks in layers), width
        self.backbone = _dilated_resnet(self.layers, width)
        self.aspp = DilatedSum(32 * width, num_classes)
        if pretrained is not None:
            state = _imagenet_weights(self.layers) if pretrained == "imagenet" else read_weights(pretrained)
            load_backbone_weights(self.backbone, state, source=str(pretrained))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] at the size of the normalized ``images`` [B,3,H,W]."""
        return self.upsampling(*images.shape[-2:])(self.coarse(images))

    def coarse(self, images: Tensor) -> Tensor:
        """Logits [B,C,ceil(H/8),ceil(W/8)] before the upsampling."""
        logits: Tensor = self.aspp(self.backbone(images))
        return logits

    @property
    def encoder(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the backbone."""
        return self.backbone.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the four dilated convolutions."""
        return self.aspp.parameters()

    def parameter_depths(self) -> dict[str, int]:
        """Depth of every parameter of the backbone, by name; see ``SegmentationNetwork.parameter_depths``."""
        return native_depths(self.backbone, prefix="backbone.")

    @property
    def recipe(self) -> dict[str, Any]:
        """Class name, number of classes, blocks of the stages and width."""
        return {
            "network": "DeepLabV2",
            "num_classes": self.num_classes,
            "layers": list(self.layers),
            "width": self.width,
        }


def _dilated_resnet(layers: tuple[int, ...], width: int) -> nn.Module:
    """The ResNet of timm with stride 8: the last two stages keep the resolution and have dilation 2 and 4."""
    from timm.models.resnet import Bottleneck, ResNet

    network: nn.Module = ResNet(
        Bottleneck,
        layers,
        num_classes=0,
        global_pool="",
        output_stride=8,
        channels=(width, 2 * width, 4 * width, 8 * width),
        zero_init_last=False,
    )
    return network


def _imagenet_weights(layers: tuple[int, ...]) -> dict[str, Tensor]:
    import timm

    name = IMAGENET_MODELS.get(layers)
    if name is None:
        raise InputError(
            f"There are no ImageNet weights for layers={list(layers)}; "
            f"use ResNet-101's [3, 4, 23, 3] or backbone.pretrained=null."
        )
    with downloading(
        f"The ImageNet weights {name}",
        f"download https://huggingface.co/timm/{name} (pytorch_model.bin) elsewhere and give its path as "
        f"backbone.pretrained=/path/pytorch_model.bin; or use backbone.pretrained=null",
    ):
        model: nn.Module = timm.create_model(name, pretrained=True)
    log_once(f"The ImageNet weights {name} are under {license_of(f'tu-{name}')}.")
    return dict(model.state_dict())
