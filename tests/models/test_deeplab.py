from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from published_weights import key_list, published_weights
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import DeepLabV2, load_published_weights
from hiast.models.deeplab import DilatedSum


def small(**options):
    return DeepLabV2(5, **{"layers": (1, 2, 2, 1), "width": 4, **options})


@pytest.fixture(scope="module")
def published(golden: Path) -> DeepLabV2:
    model = DeepLabV2()
    seed = int(np.load(golden / "deeplab_v2.npz")["weight_seed"])
    report = load_published_weights(model, published_weights(golden / "official_checkpoint_keys.json", seed))
    assert report.unused == ("seg_model.representation.0.weight", "seg_model.representation.0.bias")
    assert report.missing == ()
    return model.eval()


@pytest.mark.parametrize("size", ["65x97", "64x128"])
def test_logits_equal_the_published_network(published: DeepLabV2, golden: Path, size: str):
    arrays = np.load(golden / "deeplab_v2.npz")
    image = torch.from_numpy(arrays[f"image_{size}"])
    with torch.inference_mode():
        results = {"coarse_logits": published.coarse(image), "logits": published(image)}
    for name, result in results.items():
        expected = arrays[f"{name}_{size}"]
        assert result.shape == expected.shape
        assert np.abs(result.numpy() - expected).max() <= 1e-4 * np.abs(expected).max(), name


def test_keys_and_shapes_are_the_published_ones_in_order(golden: Path):
    expected = [
        (key.removeprefix("seg_model."), shape)
        for key, shape in key_list(golden / "official_checkpoint_keys.json")
        if "representation" not in key
    ]
    with torch.device("meta"):
        model = DeepLabV2()
    assert [(key, tuple(value.shape)) for key, value in model.state_dict().items()] == expected


def test_backbone_keeps_stride_8_by_dilation():
    """The convolutions of the last two stages, as torchvision's ``replace_stride_with_dilation`` makes them."""
    backbone = small().backbone
    strides = {name: m.stride[0] for name, m in backbone.named_modules() if isinstance(m, torch.nn.Conv2d)}
    dilations = {name: m.dilation[0] for name, m in backbone.named_modules() if name.endswith("conv2")}
    assert {name for name, stride in strides.items() if stride == 2} == {
        "conv1",
        "layer2.0.conv2",
        "layer2.0.downsample.0",
    }
    assert dilations == {
        "layer1.0.conv2": 1,
        "layer2.0.conv2": 1,
        "layer2.1.conv2": 1,
        "layer3.0.conv2": 1,
        "layer3.1.conv2": 2,
        "layer4.0.conv2": 2,
    }
    assert all(m.bias is None for m in backbone.modules() if isinstance(m, torch.nn.Conv2d))


def test_dilated_sum_against_separate_convolutions():
    torch.manual_seed(0)
    head = DilatedSum(3, 2).double()
    features = torch.randn(1, 3, 9, 11, dtype=torch.float64)
    expected = sum(
        F.conv2d(F.pad(features, (d, d, d, d)), conv.weight, conv.bias, dilation=d)
        for conv, d in zip(head.conv2d_list, (6, 12, 18, 24), strict=True)
    )
    torch.testing.assert_close(head(features), expected)


def test_initial_head_weights_are_small():
    torch.manual_seed(0)
    weights = torch.cat(
        [conv.weight.flatten() for conv in DeepLabV2(19, layers=(1, 1, 1, 1)).aspp.conv2d_list]
    )
    assert weights.std().item() == pytest.approx(0.01, rel=0.01)


@pytest.mark.parametrize(("height", "width"), [(33, 65), (64, 64), (37, 50)])
def test_sizes(height: int, width: int):
    model = small().eval()
    images = torch.zeros(2, 3, height, width)
    assert model(images).shape == (2, 5, height, width)
    assert model.coarse(images).shape == (2, 5, -(-height // 8), -(-width // 8))


def test_channels_last_gives_the_same():
    model = small().eval().double()
    images = torch.randn(2, 3, 40, 56, dtype=torch.float64)
    expected = model(images)
    result = model.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(result, expected)


def test_parameter_groups_are_a_partition():
    model = small()
    groups = [*model.encoder_parameters(), *model.head_parameters()]
    assert [id(p) for p in groups] == [id(p) for p in model.parameters()]
    assert sum(p.numel() for p in model.head_parameters()) == sum(p.numel() for p in model.aspp.parameters())


def test_pretrained_file_fills_the_backbone_only(tmp_path: Path):
    donor = small()
    state = donor.backbone.state_dict() | {"fc.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "resnet.pth")
    model = small(pretrained=tmp_path / "resnet.pth")
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert not torch.equal(model.aspp.conv2d_list[0].weight, donor.aspp.conv2d_list[0].weight)


def test_pretrained_file_that_lacks_a_layer_is_refused(tmp_path: Path):
    state = small().backbone.state_dict()
    del state["layer4.0.conv2.weight"]
    torch.save(state, tmp_path / "resnet.pth")
    with pytest.raises(InputError, match=r"resnet\.pth.*layer4\.0\.conv2\.weight"):
        small(pretrained=str(tmp_path / "resnet.pth"))


def test_imagenet_for_other_layers_is_refused():
    with pytest.raises(InputError, match=r"layers=\[1, 2, 2, 1\].*backbone\.pretrained=null"):
        small(pretrained="imagenet")


def test_imagenet_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_, **__):
        raise FileNotFoundError("cannot reach the hub")

    monkeypatch.setattr("hiast.models.downloads.hub_reachable", lambda: False)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        InputError, match=r"resnet50\.tv_in1k.*backbone\.pretrained=/path.*backbone\.pretrained=null"
    ):
        DeepLabV2(5, pretrained="imagenet", layers=(3, 4, 6, 3))


def test_imagenet_is_taken_from_timm(monkeypatch: pytest.MonkeyPatch):
    donor = timm.create_model("resnet50")
    asked = []
    monkeypatch.setattr("hiast.models.downloads.hub_reachable", lambda: True)
    monkeypatch.setattr(timm, "create_model", lambda name, **options: asked.append((name, options)) or donor)
    model = DeepLabV2(5, pretrained="imagenet", layers=(3, 4, 6, 3))
    assert asked == [("resnet50.tv_in1k", {"pretrained": True})]
    assert torch.equal(model.backbone.layer4[2].conv3.weight, donor.layer4[2].conv3.weight)


@pytest.mark.parametrize(
    ("options", "words"), [({"layers": [1, 1]}, "give 4 whole numbers"), ({"width": 0}, "width is 0")]
)
def test_sizes_that_make_no_network_are_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        DeepLabV2(3, **options)
