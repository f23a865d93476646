"""HRDA against the fusion written with loops, and where its windows lie."""

from __future__ import annotations

import pytest
import torch
from mmseg_networks import B0, Reference, draw, hrda_shapes
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.models import HRDA, load_published_weights

STATE = draw(hrda_shapes(B0, 5, 32))
REFERENCE = Reference(STATE, B0)


def published(detail: int = 64) -> HRDA:
    network = HRDA(encoder="mit_b0", weights=None, num_classes=5, channels=32, detail=[detail, detail]).eval()
    report = load_published_weights(network, {f"model.{key}": value for key, value in STATE.items()})
    assert (report.missing, report.unused) == ((), ())
    return network


def images(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def check(result: torch.Tensor, expected: torch.Tensor) -> None:
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    ("size", "detail"), [((128, 192), 64), ((64, 64), 64), ((128, 128), 96), ((64, 192), 64)]
)
def test_inference_equals_the_published_network(size: tuple[int, int], detail: int):
    picture = images(*size, batch=2)
    network = published(detail)
    with torch.inference_mode():
        expected = REFERENCE.hrda(picture, detail)
        check(network.coarse(picture), expected)
        check(network(picture), F.interpolate(expected, size, mode="bilinear", align_corners=False))


@pytest.mark.parametrize("window", [(0, 0, 64, 64), (40, 72, 64, 64), (64, 128, 64, 64)])
def test_training_equals_the_published_network(window):
    picture = images(128, 192, batch=2)
    with torch.no_grad():
        scales = published().two_scales(picture, window)
        fused, detail = REFERENCE.hrda_training(picture, window)
    check(scales.fused, fused)
    check(scales.detail, detail)
    assert scales.window == window


def test_random_windows_lie_inside_on_a_grid_of_8_and_reach_all_corners():
    network = published()
    torch.manual_seed(0)
    windows = [network._draw_window(128, 192) for _ in range(2000)]
    assert {(height, width) for *_, height, width in windows} == {(64, 64)}
    assert {top for top, *_ in windows} == set(range(0, 65, 8))
    assert {left for _, left, *_ in windows} == set(range(0, 129, 8))


def test_windows_follow_from_torchs_seed():
    network = published().train()
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(network.two_scales(images(128, 192, batch=2)).window)
    assert results[0] == results[1] != results[2]


def test_no_attention_outside_the_window_means_the_context_alone():
    picture = images(128, 128)
    with torch.no_grad():
        fused = published().two_scales(picture, (0, 0, 32, 32)).fused
        context, _ = REFERENCE.context(picture)
    # The upsampling of the attention reaches one cell of the context beyond the window.
    check(fused[..., 12:, :], REFERENCE.double(context)[..., 12:, :])


@pytest.mark.parametrize("size", [(67, 101), (32, 32), (33, 130)])
@pytest.mark.parametrize("training", [True, False])
def test_sizes_and_gradients(size: tuple[int, int], training: bool):
    network = published().train(training)
    logits = network(images(*size, batch=2))
    assert logits.shape == (2, 5, *size)
    logits.square().mean().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("detail", [[500, 512], [512], [0, 64], [64, 64, 64]])
def test_windows_that_do_not_fit_the_grids_are_refused(detail):
    with pytest.raises(InputError, match=r"backbone\.detail.*multiples of 32"):
        HRDA(encoder="mit_b0", weights=None, detail=detail)
