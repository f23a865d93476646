"""DAFormer and the checkpoints published for it, against networks written from their description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmseg_networks import B0, B5, Reference, daformer_shapes, draw, head_shapes, hrda_shapes
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import HRDA, DAFormer, SmpNetwork, load_published_weights


def small(**options) -> DAFormer:
    return DAFormer("mit_b0", None, **{"num_classes": 5, "channels": 32, **options})


def images(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def check(result: torch.Tensor, expected: torch.Tensor) -> None:
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert expected.std() > 0.01


def test_published_checkpoint_of_mit_b5_fills_the_network_and_computes_the_same():
    state = draw(daformer_shapes(B5))
    network = DAFormer("mit_b5", None).eval()
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == daformer_shapes(B5)
    report = load_published_weights(network, {f"model.{key}": value for key, value in state.items()})
    assert set(report.loaded) == set(state)
    assert (report.unused, report.missing, report.note) == ((), (), "")
    picture = images(64, 96)
    with torch.inference_mode():
        expected = Reference(state, B5).daformer(picture)
        check(network.coarse(picture), expected)
        check(network(picture), F.interpolate(expected, (64, 96), mode="bilinear", align_corners=False))


def test_a_training_checkpoint_of_mmsegmentation_loads_its_student(tmp_path: Path):
    state = draw(daformer_shapes(B0, 5, 32))
    content = {
        "meta": {
            "iter": 40000,
            "config": "model = dict()",
            "CLASSES": ("road", "car"),
            "PALETTE": [[1, 2, 3]],
        },
        "state_dict": {
            f"{part}.{key}": value if part == "model" else torch.zeros(())
            for part in ("model", "ema_model", "imnet_model")
            for key, value in state.items()
        },
        "optimizer": {
            "state": {0: {"step": 40000, "exp_avg": torch.zeros(2)}},
            "param_groups": [{"lr": 6e-5}],
        },
    }
    torch.save(content, tmp_path / "iter_40000.pth")
    network = small()
    report = load_published_weights(network, tmp_path / "iter_40000.pth")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert report.missing == ()
    assert len(report.unused) == 2 * len(state)
    assert f"not used: ema_model.backbone.* ({len([k for k in state if 'backbone' in k])})" in str(report)


def test_one_scale_of_an_hrda_checkpoint_is_loaded_with_a_note():
    state = draw(hrda_shapes(B0, 5, 32))
    network = small().eval()
    report = load_published_weights(network, {f"model.{key}": value for key, value in state.items()})
    attention = head_shapes("model.decode_head.scale_attention", B0, 5, 32, aspp=False)
    assert set(report.unused) == set(attention)
    assert report.missing == ()
    assert "backbone=hrda_mit_b5" in str(report)
    picture = images(64, 64)
    reference = Reference(state, B0)
    with torch.inference_mode():
        check(network.coarse(picture), reference.head(reference.backbone(picture), "decode_head.head"))


def test_a_checkpoint_without_scale_attention_is_refused_by_hrda():
    network = HRDA(encoder="mit_b0", weights=None, num_classes=5, channels=32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=r"no scale attention.*backbone=daformer_mit_b5"):
        load_published_weights(network, draw(daformer_shapes(B0, 5, 32)))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_other_numbers_of_classes_are_named():
    with pytest.raises(
        InputError, match=r"decode_head\.conv_seg\.weight has shape \[19, 32, 1, 1\].*\[5, 32, 1, 1\]"
    ):
        load_published_weights(small(), draw(daformer_shapes(B0, 19, 32)))


@pytest.mark.parametrize(
    "encoder", ["mit_b0", "tu-pvt_v2_b0", "tu-convnext_atto", "resnet18", "tu-tf_efficientnet_lite0"]
)
def test_the_head_fits_any_hierarchical_encoder(encoder: str):
    network = DAFormer(encoder, None, num_classes=3, channels=8).train()
    logits = network(images(67, 101, batch=2))
    assert logits.shape == (2, 3, 67, 101)
    assert network.coarse(images(67, 101, batch=2)).shape == (2, 3, 24, 32)
    logits.square().mean().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "tu-vit_tiny_patch16_224"}, "vit_tiny_patch16_224"),
        ({"encoder": "mit_b9"}, "mit_b9"),
        ({"encoder": "mit_b0", "drop_path_rate": 0.1}, "drop_path_rate.*mit_b0"),
        ({"encoder": "tu-hf-hub:someone/something"}, "names a source"),
        ({"encoder": "tu-pvt_v2_b0", "checkpoint_path": "x.pth"}, "checkpoint_path"),
        ({"encoder": "tu-pvt_v2_b0", "color": 1}, "color"),
        ({"encoder": "mit_b0", "mean": [1.0]}, "mean needs three numbers"),
    ],
)
def test_wrong_arguments_are_named(arguments, message: str):
    with pytest.raises(InputError, match=message):
        DAFormer(**{"weights": None, **arguments})


def test_padding_is_zeros_at_the_right_and_bottom():
    network = small().eval()
    picture = images(50, 70)
    padded = torch.zeros(1, 3, 64, 96)
    padded[..., :50, :70] = picture
    with torch.inference_mode():
        assert torch.equal(network(picture), network(padded)[..., :50, :70])


def test_parameter_groups_are_a_partition():
    network = small()
    groups = [*network.encoder_parameters(), *network.head_parameters()]
    assert [id(p) for p in groups] == [id(p) for p in network.parameters()]


def test_weights_of_the_encoder_come_from_a_file(tmp_path: Path):
    donor = SmpNetwork("Segformer", "mit_b0", None, 2).encoder
    state = donor.state_dict() | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}
    torch.save({"state_dict": state}, tmp_path / "mit_b0.pth")
    network = DAFormer("mit_b0", tmp_path / "mit_b0.pth", num_classes=2, channels=8)
    assert all(torch.equal(value, state[key]) for key, value in network.backbone.state_dict().items())
