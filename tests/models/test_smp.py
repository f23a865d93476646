from __future__ import annotations

from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from hiast.errors import InputError
from hiast.models import SmpNetwork, freeze_batch_norm
from hiast.models.encoders import license_of, log_once
from hiast.models.network import IMAGENET_MEAN, IMAGENET_STD


def logits(network: SmpNetwork, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        return network.eval()(torch.randn(1, 3, height, width, generator=generator))


@pytest.mark.parametrize(
    "architecture",
    [
        "Unet",
        "UnetPlusPlus",
        "MAnet",
        "Linknet",
        "FPN",
        "PSPNet",
        "DeepLabV3",
        "DeepLabV3Plus",
        "PAN",
        "UPerNet",
        "Segformer",
    ],
)
def test_logits_have_the_image_size(architecture: str):
    network = SmpNetwork(architecture, "tu-tf_efficientnet_lite0", None, 7)
    for size in ((67, 101), (8, 9), (33, 300)):
        assert logits(network, *size).shape == (1, 7, *size)


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0", "tu-convnext_atto"])
def test_other_kinds_of_encoders(encoder: str):
    assert logits(SmpNetwork("FPN", encoder, None, 3), 50, 64).shape == (1, 3, 50, 64)


def test_vision_transformer_takes_its_options():
    network = SmpNetwork(
        "DPT",
        "tu-vit_tiny_patch16_224.augreg_in21k",
        None,
        3,
        dynamic_img_size=True,
        decoder_fusion_channels=16,
    )
    assert logits(network, 67, 101).shape == (1, 3, 67, 101)


@pytest.mark.parametrize("architecture", ["DeepLabV3", "UPerNet", "DeepLabV3Plus", "PAN"])
def test_batch_norm_of_a_single_value_is_explained(architecture: str):
    network = SmpNetwork(architecture, "resnet18", None, 3).train()
    image = torch.randn(1, 3, 64, 64)
    with pytest.raises(InputError, match=rf"{architecture} shrinks an image.*two images.*freeze_bn: full"):
        network(image)
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 3, 64, 64)
    freeze_batch_norm(network, "full")
    assert network.train()(image).shape == (1, 3, 64, 64)


@pytest.mark.parametrize("architecture", ["FPN", "Unet", "Segformer", "PSPNet", "DPT"])
def test_decoders_without_pooling_train_on_one_image(architecture: str):
    encoder = "tu-vit_tiny_patch16_224" if architecture == "DPT" else "resnet18"
    options = {"dynamic_img_size": True} if architecture == "DPT" else {}
    network = SmpNetwork(architecture, encoder, None, 3, **options).train()
    network(torch.randn(1, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.head_parameters())


def test_dpt_needs_patches_of_16_pixels():
    options = {"embed_dim": 48, "num_heads": 3, "dynamic_img_size": True}
    with pytest.raises(InputError, match=r"have 14: add \+backbone\.patch_size=16"):
        SmpNetwork("DPT", "tu-vit_small_patch14_dinov2.lvd142m", None, 3, **options)


def test_license_of_weights_is_logged_once(caplog: pytest.LogCaptureFixture):
    log_once.cache_clear()
    with caplog.at_level("INFO", logger="hiast"):
        for _ in range(2):
            SmpNetwork("FPN", "tu-tf_efficientnet_lite0", "efficientnet-lite0-package", 3)
        SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 3)
    (sentence,) = [record.getMessage() for record in caplog.records if record.name.startswith("hiast")]
    assert sentence == (
        "The weights efficientnet-lite0-package of encoder tu-tf_efficientnet_lite0 are under the license apache-2.0."
    )


@pytest.mark.parametrize(
    ("encoder", "license_"),
    [
        ("mit_b5", "NVIDIA Source Code License for SegFormer, which forbids commercial use"),
        ("tu-convnext_small.dinov3_lvd1689m", "DINOv3 License of Meta"),
        ("tu-vit_base_patch14_dinov2.lvd142m", "license apache-2.0"),
        ("tu-pvt_v2_b5.in1k", "license apache-2.0"),
        ("resnet18", "look it up"),
    ],
)
def test_licenses(encoder: str, license_: str):
    assert license_ in license_of(encoder)


def test_is_the_librarys_network():
    torch.manual_seed(0)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=4, decoder_channels=(32, 16, 8, 8, 4)).eval()
    torch.manual_seed(0)
    ours = SmpNetwork("Unet", "resnet18", None, 4, decoder_channels=[32, 16, 8, 8, 4]).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


def test_padding_is_zeros_at_the_right_and_bottom():
    network = SmpNetwork("FPN", "resnet18", None, 4).eval()
    images = torch.randn(1, 3, 50, 70)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., :50, :70] = images
    with torch.inference_mode():
        assert torch.equal(network(images), network(padded)[..., :50, :70])


def test_parameter_groups_are_a_partition():
    network = SmpNetwork("FPN", "resnet18", None, 4)
    encoder, head = (
        {id(p) for p in group()} for group in (network.encoder_parameters, network.head_parameters)
    )
    assert not encoder & head
    assert encoder | head == {id(p) for p in network.parameters()}
    assert encoder == {id(p) for p in network.network.encoder.parameters()}


def test_input_settings():
    without = SmpNetwork("FPN", "resnet18", None, 2)
    assert (without.mean, without.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 2).mean == (0.5, 0.5, 0.5)
    own = SmpNetwork("FPN", "resnet18", None, 2, mean=[0, 0, 0], std=[1, 1, 1])
    assert (own.mean, own.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_input_settings_of_downloaded_weights_are_scaled_to_0_1(monkeypatch: pytest.MonkeyPatch):
    settings = {
        "input_space": "RGB",
        "input_range": [0, 255],
        "mean": [51.0, 102.0, 0.0],
        "std": [255.0, 51.0, 51.0],
    }
    create = smp.create_model
    monkeypatch.setattr(
        smp, "create_model", lambda *a, encoder_weights, **k: create(*a, encoder_weights=None, **k)
    )
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", lambda *_, **__: settings)
    network = SmpNetwork("FPN", "resnet18", "imagenet", 2)
    assert network.mean == pytest.approx((0.2, 0.4, 0.0))
    assert network.std == pytest.approx((1.0, 0.2, 0.2))
    settings["input_space"] = "BGR"
    with pytest.raises(InputError, match="BGR"):
        SmpNetwork("FPN", "resnet18", "imagenet", 2)


@pytest.mark.parametrize("encoder", ["resnet18", "tu-tf_efficientnet_lite0"])
def test_weights_from_a_file(tmp_path: Path, encoder: str):
    donor = SmpNetwork("FPN", encoder, None, 2).network.encoder
    state = (donor.model if encoder.startswith("tu-") else donor).state_dict()
    torch.save(state, tmp_path / "encoder.pth")
    network = SmpNetwork("Unet", encoder, str(tmp_path / "encoder.pth"), 2)
    for key, value in donor.state_dict().items():
        assert torch.equal(network.network.encoder.state_dict()[key], value), key


def test_download_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_, **__):
        raise FileNotFoundError("cannot reach the hub")

    monkeypatch.setattr("hiast.models.downloads.hub_reachable", lambda: False)
    monkeypatch.setattr(smp, "create_model", unreachable)
    with pytest.raises(
        InputError, match=r"imagenet of encoder resnet34.*backbone\.weights=/path.*backbone\.weights=null"
    ):
        SmpNetwork("FPN", "resnet34", "imagenet", 2)


def test_timm_is_asked_for_weights_by_a_flag(monkeypatch: pytest.MonkeyPatch):
    asked = []
    create = smp.create_model

    def record(*args, encoder_weights, **options):
        asked.append(encoder_weights)
        return create(*args, encoder_weights=None, **options)

    monkeypatch.setattr(smp, "create_model", record)
    SmpNetwork("FPN", "tu-resnet18", "imagenet", 2)
    assert asked == [True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "FPM"}, "'FPM'.*FPN"),
        ({"encoder": "resnet19"}, "resnet19.*resnet18"),
        ({"encoder": "tu-resnet19"}, "resnet19"),
        ({"encoder": "resnet18", "weights": "imagenette"}, "imagenette.*imagenet"),
        ({"encoder": "resnet18", "decoder_chanels": [1]}, "decoder_chanels"),
        ({"encoder": "tu-resnet18", "decoder_chanels": [1]}, "decoder_chanels"),
        ({"encoder": "resnet18", "decoder_dropout": object()}, "decoder_dropout"),
        ({"encoder": "resnet18", "mean": [1, 2]}, "mean"),
        ({"encoder": "resnet18", "weights": "/nowhere/encoder.pth"}, r"/nowhere/encoder\.pth"),
        ({"encoder": "tu-hf-hub:someone/something"}, "names a source"),
        ({"encoder": "tu-resnet18", "checkpoint_path": "x.pth"}, "checkpoint_path"),
    ],
)
def test_wrong_arguments_are_named(arguments, message: str):
    with pytest.raises(InputError, match=message):
        SmpNetwork(**{"architecture": "FPN", "weights": None, "num_classes": 2, **arguments})


def test_gradients_reach_every_parameter():
    network = SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 3).train()
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    missing = [
        name for name, p in network.named_parameters() if p.grad is None or not isinstance(p, nn.Parameter)
    ]
    assert missing == []
