"""Inference against the published rule, written out with one-dimensional interpolation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hiast.errors import InputError
from hiast.evaluation import predict_probabilities

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
Size = tuple[int, int]


def small_network(stride: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 5, 3, stride, padding=1)


def draw_images(height: int, width: int, count: int = 2) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8))


def resized(maps: np.ndarray, size: Size) -> np.ndarray:
    """Bilinear with aligned corners: corner pixels stay where they are."""
    for axis, length in ((2, size[0]), (3, size[1])):
        at = np.linspace(0, maps.shape[axis] - 1, length)
        maps = np.apply_along_axis(lambda line, at=at: np.interp(at, np.arange(len(line)), line), axis, maps)
    return maps


def naive(
    logits_of: Callable[[np.ndarray], np.ndarray], images: Tensor, sizes: list[Size], flip: bool, output: Size
) -> np.ndarray:
    x = images.numpy() / 255.0
    x = (x - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
    maps = []
    for size in sizes:
        for step in (1, -1) if flip else (1,):
            logits = resized(logits_of(resized(x, size)[..., ::step])[..., ::step], output)
            exponentials = np.exp(logits - logits.max(1, keepdims=True))
            maps.append(exponentials / exponentials.sum(1, keepdims=True))
    return np.mean(maps, 0)


def run_network(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: network(torch.tensor(x.copy(), dtype=torch.float32)).detach().double().numpy()


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("sizes", [None, [(17, 29)], [(12, 20), (17, 29), (30, 44)]])
def test_sizes_and_flip_equal_the_rule(stride: int, flip: bool, sizes: list[Size] | None) -> None:
    network, images = small_network(stride), draw_images(19, 31)
    found = predict_probabilities(
        network, images, mean=MEAN, std=STD, sizes=sizes, flip=flip, output_size=(23, 41)
    )
    assert found.dtype == torch.float32
    assert not found.requires_grad
    expected = naive(run_network(network), images, sizes or [(19, 31)], flip, (23, 41))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)


def test_the_output_has_the_size_of_the_image_by_default() -> None:
    found = predict_probabilities(small_network(2), draw_images(16, 24), mean=MEAN, std=STD, sizes=[(8, 8)])
    assert found.shape == (2, 5, 16, 24)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 16, 24))


def test_images_are_left_as_they_are() -> None:
    images = draw_images(8, 8)
    before = images.clone()
    predict_probabilities(small_network(1), images, mean=MEAN, std=STD, flip=True)
    assert torch.equal(images, before)


def test_sizes_from_a_config_may_be_lists() -> None:
    network, images = small_network(1), draw_images(16, 24)
    lists = predict_probabilities(network, images, mean=MEAN, std=STD, sizes=[[16, 24]], output_size=[16, 24])  # type: ignore[list-item,arg-type]
    assert torch.equal(lists, predict_probabilities(network, images, mean=MEAN, std=STD))


@pytest.mark.parametrize(
    "window", [(8, 10, 4), (8, 8, 8), (7, 9, 5), (19, 31, 3), (16, 64, 16), (40, 40, 40)]
)
def test_windows_average_the_logits_of_all_windows_over_a_pixel(window: tuple[int, int, int]) -> None:
    network, images = small_network(1), draw_images(19, 31)
    height, width, stride = window

    def logits_of(x: np.ndarray) -> np.ndarray:
        rows, columns = x.shape[2:]
        x = np.pad(x, ((0, 0), (0, 0), (0, max(0, height - rows)), (0, max(0, width - columns))))
        total, count = np.zeros((2, 5, *x.shape[2:])), np.zeros(x.shape[2:])
        tops = {min(top, x.shape[2] - height) for top in range(0, x.shape[2], stride)}
        lefts = {min(left, x.shape[3] - width) for left in range(0, x.shape[3], stride)}
        for top in tops:
            for left in lefts:
                place = np.s_[..., top : top + height, left : left + width]
                total[place] += run_network(network)(x[place])
                count[place] += 1
        assert (count > 0).all()
        return (total / count)[..., :rows, :columns]

    found = predict_probabilities(network, images, mean=MEAN, std=STD, window=window, flip=True)
    np.testing.assert_allclose(found.numpy(), naive(logits_of, images, [(19, 31)], True, (19, 31)), atol=2e-6)


def test_every_window_has_the_size_that_the_network_needs() -> None:
    seen = set()

    def network(x: Tensor) -> Tensor:
        seen.add(tuple(x.shape[2:]))
        return x[:, :2]

    predict_probabilities(network, draw_images(10, 33), mean=MEAN, std=STD, window=(16, 16, 12))
    assert seen == {(16, 16)}


def test_half_precision_logits_are_averaged_in_single_precision() -> None:
    network, images = small_network(1), draw_images(12, 12)
    half = predict_probabilities(lambda x: network(x).bfloat16(), images, mean=MEAN, std=STD)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.sum(1), torch.ones(2, 12, 12), atol=1e-6, rtol=0)


@pytest.mark.parametrize("window", [(8, 8, 9), (0, 8, 1), (8, 8, 0), (8, 4, 6)])
def test_a_window_that_leaves_gaps_is_refused(window: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="window"):
        predict_probabilities(small_network(1), draw_images(16, 16), mean=MEAN, std=STD, window=window)


def test_no_size_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="sizes"):
        predict_probabilities(small_network(1), draw_images(16, 16), mean=MEAN, std=STD, sizes=[])
