"""Coarse logits, upsampled, are the logits; and those are still the library's."""

from __future__ import annotations

from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from hiast.models import (
    HRDA,
    DAFormer,
    DeepLabV2,
    Normalize,
    SegmentationNetwork,
    SmpNetwork,
    Teacher,
    normalize,
)

SIZE = (67, 101)
ARCHITECTURES: list[tuple[str, dict[str, Any], tuple[int, int]]] = [
    ("Unet", {}, (96, 128)),
    ("FPN", {}, (24, 32)),
    ("FPN", {"upsampling": 2}, (48, 64)),
    ("PSPNet", {}, (12, 16)),
    ("DeepLabV3Plus", {}, (24, 32)),
    ("Segformer", {}, (24, 32)),
    ("UPerNet", {}, (24, 32)),
    ("FPN", {"activation": "softmax2d"}, (96, 128)),
]


def images(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def check(network: SegmentationNetwork, height: int, width: int) -> Tensor:
    """Compare both ways to the logits; returns the coarse ones."""
    with torch.inference_mode():
        coarse = network.eval().coarse(images(height, width))
        upsampling = network.upsampling(height, width)
        assert upsampling.size == (height, width)
        assert torch.equal(upsampling(coarse), network(images(height, width)))
    return coarse


@pytest.mark.parametrize(("architecture", "options", "size"), ARCHITECTURES)
def test_smp(architecture: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    theirs = smp.create_model(
        architecture, encoder_name="resnet18", encoder_weights=None, classes=4, **options
    )
    torch.manual_seed(0)
    ours = SmpNetwork(architecture, "resnet18", None, 4, **options)
    assert list(ours.network.state_dict()) == list(theirs.state_dict())
    assert check(ours, *SIZE).shape == (1, 4, *size)
    padded = nn.functional.pad(images(), (0, 27, 0, 29))
    with torch.inference_mode():
        wanted = theirs.eval()(padded)
        if wanted.shape[-2:] != padded.shape[-2:]:
            wanted = nn.functional.interpolate(wanted, padded.shape[-2:], mode="bilinear", align_corners=True)
        assert torch.equal(ours(images()), wanted[..., : SIZE[0], : SIZE[1]])


def test_dpt() -> None:
    network = SmpNetwork(
        "DPT",
        "tu-vit_tiny_patch16_224.augreg_in21k",
        None,
        3,
        dynamic_img_size=True,
        decoder_fusion_channels=16,
    )
    coarse = check(network, *SIZE)
    assert coarse.shape == (1, 3, 48, 64)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 33)])
def test_deeplab(height: int, width: int) -> None:
    network = DeepLabV2(3, layers=(1, 1, 1, 1), width=4)
    assert check(network, height, width).shape == (1, 3, -(-height // 8), -(-width // 8))


@pytest.mark.parametrize("kind", [DAFormer, HRDA])
def test_daformer_and_hrda(kind: type[DAFormer]) -> None:
    options = {} if kind is DAFormer else {"detail": (64, 64)}
    network = kind(encoder="mit_b0", weights=None, num_classes=3, channels=16, **options)
    side = (96, 128) if kind is DAFormer else (128, 128)
    assert check(network, *SIZE).shape == (1, 3, side[0] // 4, side[1] // 4)


def test_a_network_of_ones_own_needs_forward_only() -> None:
    class Own(SegmentationNetwork):
        def forward(self, images: Tensor) -> Tensor:
            return images * 2

    assert torch.equal(check(Own(), *SIZE), images() * 2)


def test_the_teacher_gives_coarse_logits_by_its_weights() -> None:
    student = DeepLabV2(3, layers=(1, 1, 1, 1), width=4)
    teacher = Teacher(student)
    with torch.no_grad():
        wanted = student.eval().coarse(images())
        student.aspp.conv2d_list[0].weight.mul_(2)  # type: ignore[operator]
        assert torch.equal(teacher.coarse(images()), wanted)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalize_keeps_its_constants_out_of_checkpoints(layout: torch.memory_format) -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    module = Normalize(mean, std)
    assert not module.state_dict() and {name for name, _ in module.named_buffers()} == {"shift", "scale"}
    raw = torch.randint(256, (2, 3, 5, 7), dtype=torch.uint8).to(memory_format=layout)
    wanted = (raw.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    for values in (raw, raw.float()):
        before = values.clone()
        found = module(values)
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=layout)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
        assert torch.equal(found, normalize(values, mean, std)) and torch.equal(values, before)
