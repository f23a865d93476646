"""Depths of parameters, which must grow from the stem to the last block as the forward pass meets them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hiast.errors import InputError
from hiast.models import HRDA, DAFormer, DeepLabV2, SegmentationNetwork, SmpNetwork

VIT = {"img_size": 64, "dynamic_img_size": True, "embed_dim": 48, "num_heads": 3}


# A network of every family, and its number of blocks.
NETWORKS: dict[str, tuple[Callable[[], SegmentationNetwork], int]] = {
    "deeplab": (lambda: DeepLabV2(3, layers=(1, 2, 3, 1), width=4), 7),
    "resnet18": (lambda: SmpNetwork("FPN", "resnet18", None, 3), 8),
    "tu-resnet18": (lambda: SmpNetwork("FPN", "tu-resnet18", None, 3), 8),
    "lite0": (lambda: SmpNetwork("FPN", "tu-tf_efficientnet_lite0", None, 3), 16),
    "convnext": (lambda: SmpNetwork("UPerNet", "tu-convnext_atto", None, 3), 12),
    "swin": (
        lambda: SmpNetwork(
            "FPN", "tu-swin_tiny_patch4_window7_224", None, 3, depths=[1, 1, 2, 1], embed_dim=24
        ),
        5,
    ),
    "dinov2": (
        lambda: SmpNetwork("DPT", "tu-vit_small_patch14_dinov2.lvd142m", None, 3, patch_size=16, **VIT),
        12,
    ),
    "dinov3": (lambda: SmpNetwork("DPT", "tu-vit_small_patch16_dinov3", None, 3), 12),
    "hiera": (lambda: SmpNetwork("FPN", "tu-sam2_hiera_tiny", None, 3), 12),
    # timm divides PVTv2 into its four stages.
    "pvt": (lambda: DAFormer("tu-pvt_v2_b0", None, 3), 4),
    "mit": (lambda: DAFormer("mit_b1", None, 3), 8),
    "hrda": (lambda: HRDA(encoder="mit_b0", weights=None, num_classes=3), 8),
}


def on_meta(build: Callable[[], SegmentationNetwork]) -> SegmentationNetwork:
    with torch.device("meta"):
        return build()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_encoder_parameter_has_a_depth_and_no_other(name: str):
    build, blocks = NETWORKS[name]
    network = on_meta(build)
    depths = network.parameter_depths()
    encoder = {id(value) for value in network.encoder_parameters()}
    assert depths.keys() == {key for key, value in network.named_parameters() if id(value) in encoder}
    assert set(depths.values()) == set(range(blocks + 1))


def test_mix_transformer_goes_stage_by_stage():
    depths = DAFormer("mit_b0", None, 3).parameter_depths()
    of = {key.removeprefix("backbone.").rsplit(".", 1)[0]: depth for key, depth in depths.items()}
    assert of["patch_embed1.proj"] == of["patch_embed1.norm"] == 0
    assert (of["block1.0.norm1"], of["block1.1.mlp.fc2"], of["norm1"]) == (1, 2, 2)
    assert (of["patch_embed2.proj"], of["block2.0.attn.q"], of["block2.1.attn.q"], of["norm2"]) == (
        3,
        3,
        4,
        4,
    )
    assert (of["patch_embed4.proj"], of["block4.1.attn.kv"], of["norm4"]) == (7, 8, 8)


@pytest.mark.parametrize("name", ["convnext", "swin"])
def test_stages_follow_each_other(name: str):
    network = on_meta(NETWORKS[name][0])
    depths = network.parameter_depths()
    stages = "stages" if name == "convnext" else "layers"
    for stage in range(3):
        now, after = (
            [depth for key, depth in depths.items() if f"{stages}_{number}.blocks" in key]
            for number in (stage, stage + 1)
        )
        assert max(now) + 1 == min(after)


@pytest.mark.parametrize("encoder", ["densenet121", "tu-tf_efficientnet_lite0"])
def test_encoders_whose_layers_are_not_known_are_refused(monkeypatch: pytest.MonkeyPatch, encoder: str):
    with torch.device("meta"):
        network = SmpNetwork("FPN", encoder, None, 3)
    monkeypatch.setattr("hiast.models.depths._timm_depths", lambda *_: {})
    with pytest.raises(InputError, match="Layer decay is not possible"):
        network.parameter_depths()
