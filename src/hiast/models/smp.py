"""Any encoder and decoder of segmentation-models-pytorch as a segmentation network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import encoders
from hiast.models.batch_norm import explain_single_values
from hiast.models.depths import encoder_depths
from hiast.models.meta import create
from hiast.models.network import SegmentationNetwork
from hiast.upsampling import Upsampling


class SmpNetwork(SegmentationNetwork):
    """An architecture of segmentation-models-pytorch; images of any size are padded to its stride.

    Args:
        architecture: Decoder: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus, PAN,
            UPerNet, Segformer or DPT.
        encoder: Encoder of the library (``resnet34``), or of timm with the prefix ``tu-``
            (``tu-convnext_tiny.fb_in1k``).
        weights: ``"imagenet"`` (or another name the library lists for the encoder) downloads; the name
            ``"efficientnet-lite0-package"`` takes them from an installed package (encoder
            ``tu-tf_efficientnet_lite0``; Lite2 likewise); a path reads the encoder's state dict; None starts from
            random. The license of published weights is logged when they are loaded.
        num_classes: Classes C of the logits.
        mean: Input mean per channel for images in 0..1; None takes the encoder's own.
        std: Input divisor per channel, likewise.
        **options: Further plain arguments of the architecture (``decoder_channels=[128, 64, 32, 16, 8]``).

    Raises:
        InputError: A name or option is unknown, or weights cannot be had or do not fit.
    """

    def __init__(
        self,
        architecture: str = "FPN",
        encoder: str = "resnet34",
        weights: str | Path | None = "imagenet",
        num_classes: int = 19,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.architecture, self.encoder_name, self.num_classes = architecture, encoder, num_classes
        self.options = {key: encoders.plain(value, key) for key, value in options.items()}
        downloaded = encoders.downloaded(weights, encoder)
        self.network = _build(architecture, encoder, downloaded, num_classes, self.options)
        self._factor = _take_upsampling(self.network)
        if architecture.lower() == "dpt":
            _check_patches(self.encoder, encoder)
            _freeze_unused(self.encoder)
        self.mean, self.std = encoders.input_settings(encoder, downloaded, mean, std)
        encoders.load_encoder(self.encoder, encoder, weights, self.encoder_options)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] at the size of the normalized ``images`` [B,3,H,W].

        Sizes that the encoder's stride does not divide are padded with zeros (the mean color) at the right
        and the bottom; the padding is cut off the logits.
        """
        return self.upsampling(*images.shape[-2:])(self.coarse(images))

    def coarse(self, images: Tensor) -> Tensor:
        """Logits [B,C,h,w] of the padded images before their last upsampling; most decoders work at stride 4."""
        size = self.padded_size(*images.shape[-2:])
        with explain_single_values(self.architecture):
            logits: Tensor = self.network(self.encoder_images(images))
        reached = (logits.shape[-2] * self._factor, logits.shape[-1] * self._factor)
        if self._factor > 1 and reached != size:
            # With an encoder of unusual depth the library's upsampling is not the last one.
            logits = F.interpolate(logits, size=reached, mode="bilinear", align_corners=True)
        return logits

    def upsampling(self, height: int, width: int) -> Upsampling:
        """From coarse logits to the padded image, of which the image's own part is kept."""
        return Upsampling.to(self.padded_size(height, width), align_corners=True, kept=(height, width))

    def encoder_images(self, images: Tensor) -> Tensor:
        """The padded images."""
        height, width = images.shape[-2:]
        rows, columns = self.padded_size(height, width)
        return (
            images
            if (rows, columns) == (height, width)
            else F.pad(images, (0, columns - width, 0, rows - height))
        )

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Multiples of the stride from (``height``, ``width``) on."""
        # Some decoders need multiples of 32 although their encoder announces a smaller stride.
        own = int(self.encoder.output_stride)  # type: ignore[arg-type]
        stride = math.lcm(own, 32)
        # PAN halves the last features three times.
        smallest = 8 * own if self.architecture.lower() == "pan" else stride
        return (
            height + max(smallest - height, -height % stride),
            width + max(smallest - width, -width % stride),
        )

    @property
    def encoder(self) -> nn.Module:
        """The encoder; its forward pass returns feature maps, the last with the largest stride."""
        encoder = self.network.encoder
        assert isinstance(encoder, nn.Module)
        return encoder

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the encoder."""
        return self.encoder.parameters()

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the decoder and the segmentation head."""
        return (value for name, value in self.network.named_parameters() if not name.startswith("encoder."))

    def parameter_depths(self) -> dict[str, int]:
        """Depth of every parameter of the encoder, by name; see ``SegmentationNetwork.parameter_depths``."""
        return encoder_depths(
            self.encoder, self.encoder_name, self.encoder_options, prefix="network.encoder."
        )

    @property
    def encoder_options(self) -> dict[str, Any]:
        """The options that the architecture hands on to its encoder."""
        taken = signature(type(self.network).__init__).parameters
        return {key: value for key, value in self.options.items() if key not in taken}

    @property
    def recipe(self) -> dict[str, Any]:
        """Class name, architecture, encoder, number of classes, input mean and std, and options."""
        return {
            "network": "SmpNetwork",
            "architecture": self.architecture,
            "encoder": self.encoder_name,
            "num_classes": self.num_classes,
            "mean": list(self.mean),
            "std": list(self.std),
            "options": dict(self.options),
        }


def _build(
    architecture: str, encoder: str, weights: str | None, num_classes: int, options: dict[str, Any]
) -> nn.Module:
    import segmentation_models_pytorch as smp
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING as ARCHITECTURES

    if architecture.lower() not in ARCHITECTURES:
        known = ", ".join(kind.__name__ for kind in ARCHITECTURES.values())
        raise InputError(f"There is no architecture '{architecture}'; choose one of {known}.")
    known_options = set(signature(ARCHITECTURES[architecture.lower()].__init__).parameters)
    encoders.check_encoder(encoder, options, known_options)
    with encoders.building(f"{architecture} with encoder {encoder}", encoder, weights):
        return create(
            lambda: smp.create_model(
                architecture,
                encoder_name=encoder,
                encoder_weights=encoders.library_weights(encoder, weights),
                classes=num_classes,
                **options,
            )
        )


def _take_upsampling(network: nn.Module) -> int:
    """Have ``network`` return its logits before its last upsampling; returns the factor of that, 1 if there is none.

    Neither parameters nor their names change. A head with an activation, which comes after the upsampling, is left
    alone.
    """
    head: Any = network.segmentation_head
    if not isinstance(head, nn.Sequential):  # DPT's, which interpolates with aligned corners
        factor = int(head.upsampling_factor)
        if factor != head.upsampling_factor or not isinstance(head.activation.activation, nn.Identity):
            return 1
        head.upsampling_factor = 1
        return factor
    _, last, activation = head
    bilinear = isinstance(last, nn.Upsample) and last.mode == "bilinear" and bool(last.align_corners)
    if not bilinear or not isinstance(activation.activation, nn.Identity):
        return 1
    factor = int(last.scale_factor)  # type: ignore[arg-type]
    head[1] = nn.Identity()
    return factor


def _check_patches(core: nn.Module, encoder: str) -> None:
    # The decoder would round 14 / 4 to 3 and so on, and its levels would not lie over each other.
    stride = core.output_stride
    if stride != 16:
        raise InputError(
            f"DPT needs an encoder with patches of 16 pixels, and those of {encoder} have {stride}: add "
            f"+backbone.patch_size=16 (the weights of the patches are resampled), or choose another encoder."
        )


def _freeze_unused(core: nn.Module) -> None:
    # DPT takes features from the blocks. Parameters behind the last block never get a gradient, which stops
    # training on several devices unless they are known not to need one.
    for name in ("norm", "fc_norm", "attn_pool", "head"):
        behind = getattr(core.model, name, None)
        if isinstance(behind, nn.Module):
            behind.requires_grad_(False)
