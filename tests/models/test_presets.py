"""Every preset of conf/backbone: built at full size without memory, and a small relative of it trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn import functional as F

import hiast.models
from hiast.models import SegmentationNetwork, build_from_recipe
from hiast.models.encoders import license_of
from hiast.models.meta import QuickShapes
from hiast.models.packaged import PACKAGES

CONF = Path(__file__).parents[2] / "conf" / "backbone"
PRESETS = {path.stem: path for path in sorted(CONF.glob("*.yaml"))}

_UPERNET: dict[str, Any] = {"decoder_channels": 16}
_SEGFORMER: dict[str, Any] = {"decoder_segmentation_channels": 16}
_VIT: dict[str, Any] = {
    "embed_dim": 48,
    "num_heads": 3,
    "img_size": 64,
    "decoder_fusion_channels": 16,
    "decoder_intermediate_channels": [8, 8, 16, 16],
}
_FPN: dict[str, Any] = {"decoder_pyramid_channels": 32, "decoder_segmentation_channels": 32}
# What makes each preset small; all else of the preset stays.
SMALL: dict[str, dict[str, Any]] = {
    "convnext_base_dinov3_upernet": _UPERNET | {"depths": [1, 1, 1, 1], "dims": [16, 32, 48, 64]},
    "convnext_small_dinov3_upernet": _UPERNET | {"depths": [1, 1, 2, 1], "dims": [16, 32, 48, 64]},
    "daformer_mit_b5": {"encoder": "mit_b0", "channels": 16},
    "deeplab_v2_resnet101": {"layers": [1, 1, 1, 1], "width": 8},
    "efficientnet_lite0_fpn": _FPN,
    "efficientnet_lite2_fpn": _FPN,
    "hrda_mit_b5": {"encoder": "mit_b0", "channels": 16, "detail": [64, 64]},
    "mit_b2_segformer": _SEGFORMER | {"encoder": "mit_b0"},
    "mit_b5_segformer": _SEGFORMER | {"encoder": "mit_b0"},
    "pvt_v2_b5_segformer": _SEGFORMER | {"encoder": "tu-pvt_v2_b0"},
    "swin_small_upernet": _UPERNET | {"depths": [1, 1, 2, 1], "embed_dim": 24, "num_heads": [1, 2, 4, 8]},
    "vit_base_dinov2_dpt": _VIT,
    "vit_large_dinov3_dpt": _VIT,
}


def settings(name: str) -> dict[str, Any]:
    values = yaml.safe_load(PRESETS[name].read_text())
    return values | {key: None for key in ("weights", "pretrained") if key in values}


def build(values: dict[str, Any], classes: int) -> SegmentationNetwork:
    arguments = {key: value for key, value in values.items() if key != "_target_"}
    kind = getattr(hiast.models, values["_target_"].removeprefix("hiast.models."))
    return kind(num_classes=classes, **arguments)


def small(name: str) -> SegmentationNetwork:
    torch.manual_seed(0)
    return build(settings(name) | SMALL[name], classes=4)


def test_every_preset_has_a_small_relative():
    assert SMALL.keys() == PRESETS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_full_size_on_the_meta_device(name: str):
    with torch.device("meta"):
        network = build(settings(name), classes=19)
    with torch.no_grad(), QuickShapes():
        logits = network(torch.empty(2, 3, 97, 130, device="meta"))
    assert logits.shape == (2, 19, 97, 130)
    assert max(network.parameter_depths().values()) > 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_step_of_training(name: str):
    network = small(name).train()
    before = {key: value.detach().clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.AdamW(
        [p for p in (*network.encoder_parameters(), *network.head_parameters()) if p.requires_grad], lr=1e-2
    )
    logits = network(torch.randn(2, 3, 67, 101))
    assert logits.shape == (2, 4, 67, 101)
    loss = F.cross_entropy(logits, torch.randint(0, 4, (2, 67, 101)))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    for key, value in network.named_parameters():
        # Training on several devices stops at parameters that never get a gradient.
        assert (value.grad is not None) == value.requires_grad, key
        assert torch.isfinite(value).all(), key
    changed = [key for key, value in network.named_parameters() if not torch.equal(value, before[key])]
    assert len(changed) > 0.9 * len(before)


@pytest.mark.parametrize("name", PRESETS)
def test_recipe_and_checkpoint(tmp_path: Path, name: str):
    network = small(name).eval()
    torch.save({"recipe": network.recipe, "state_dict": network.state_dict()}, tmp_path / "last.ckpt")
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    rebuilt = build_from_recipe(content["recipe"]).eval()
    rebuilt.load_state_dict(content["state_dict"])
    images = torch.randn(1, 3, 40, 70)
    with torch.inference_mode():
        assert torch.equal(rebuilt(images), network(images))
    assert (rebuilt.mean, rebuilt.std, rebuilt.recipe) == (network.mean, network.std, network.recipe)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [(33, 65), (8, 200)])
def test_odd_sizes(name: str, size: tuple[int, int]):
    network = small(name).eval()
    images = torch.randn(2, 3, *size)
    with torch.inference_mode():
        logits = network(images)
        assert logits.shape == (2, 4, *size)
        assert torch.isfinite(logits).all()
        # An image does not depend on its neighbors in the batch.
        torch.testing.assert_close(logits[1:], network(images[1:]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_the_license_stands_in_the_head_of_the_file(name: str):
    values = yaml.safe_load(PRESETS[name].read_text())
    comment = " ".join(
        line.removeprefix("#").strip()
        for line in PRESETS[name].read_text().splitlines()
        if line.startswith("#")
    )
    encoder = values.get("encoder", "tu-resnet101.tv_in1k")
    assert license_of(encoder) in comment
    assert values.get("weights") not in PACKAGES or "pip install" in comment
