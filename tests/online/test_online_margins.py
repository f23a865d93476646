"""Weights in margins: against masks cropped, resized and flipped like an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hiast.data.augmentation.weak import WeakAugmentation
from hiast.data.geometry import Window
from hiast.errors import InputError
from hiast.online import Margins


class Fixed:
    """A crop that always shows one window."""

    def __init__(self, window, height, width):
        self.window, self.height, self.width = window, height, width

    def draw(self, rng, image_height, image_width):
        return self.window


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("window", "size"),
    [
        ((0, 0, 40, 60), (40, 60)),
        ((7, 11, 20, 30), (20, 30)),
        ((6, 10, 20, 30), (40, 60)),
        ((4, 8, 36, 48), (9, 12)),
    ],
)
@pytest.mark.parametrize("margins", [Margins(3, 9, 5, 12), Margins(0.075, 0.225, 0.1, 0.2, "share")])
def test_weights_are_those_of_the_whole_image_cropped_like_an_image(flip, window, size, margins):
    whole = np.zeros((40, 60), np.uint8)
    top, bottom, left, right = (round(value) for value in margins.pixels(40, 60))
    whole[top : 40 - bottom, left : 60 - right] = 1
    augmentation = WeakAugmentation(Fixed(Window(*window), *size))
    cropped = augmentation.label(Window(*window).of(whole), flip)
    weights = margins.weights(size, torch.tensor([window]), torch.tensor([[40, 60]]), torch.tensor([flip]))
    assert weights.dtype == torch.float32
    found = weights[0].numpy()
    if size[0] < window[2]:
        # Shrunk, nearest neighbor looks at a pixel beside the center: the edge may lie one pixel off.
        assert np.abs(found.sum(0).max() - cropped.sum(0).max()) <= 1
        assert (found != cropped).mean() < 0.2
    else:
        np.testing.assert_array_equal(found, cropped)


def test_every_crop_of_a_batch_has_its_own_place():
    windows = torch.tensor([[0.0, 0, 10, 10], [10, 0, 10, 10], [0, 10, 10, 10]])
    sizes = torch.tensor([[20, 20], [20, 20], [20, 40]])
    weights = Margins(top=4, bottom=3, left=2).weights((10, 10), windows, sizes)
    assert weights[0, :4].sum() == 0
    assert weights[0, :, :2].sum() == 0
    assert weights[0, 4:, 2:].all()
    assert weights[1, 7:].sum() == 0
    assert weights[1, :7, 2:].all()
    assert weights[2, 4:].all()


def test_no_margin_weighs_everything_1():
    windows, sizes = torch.tensor([[0.5, 0.5, 7.3, 5.1]]), torch.tensor([[9, 9]])
    assert (Margins().weights((4, 4), windows, sizes) == 1).all()
    assert not Margins()
    assert Margins(right=1)


def test_published_margins_of_cityscapes():
    weights = Margins(top=15, bottom=120).weights(
        (512, 512), torch.tensor([[0, 300, 512, 512]]), torch.tensor([[512, 1024]])
    )
    assert weights[0, :15].sum() == weights[0, -120:].sum() == 0
    assert (weights[0, 15:-120] == 1).all()


def test_what_leaves_nothing_is_refused():
    with pytest.raises(InputError, match="bottom"):
        Margins(bottom=-1)
    with pytest.raises(InputError, match="unit"):
        Margins(unit="percent")
    with pytest.raises(InputError, match="less than 1"):
        Margins(top=0.5, bottom=0.5, unit="share")
    with pytest.raises(InputError, match="20x30"):
        Margins(top=15, bottom=5).pixels(20, 30)
    with pytest.raises(InputError, match=r"\[B, 4\]"):
        Margins().weights((4, 4), torch.zeros(2, 4), torch.zeros(1, 2))


def test_the_center_of_a_pixel_decides():
    windows, sizes = torch.tensor([[0, 0, 8, 8]]), torch.tensor([[8, 8]])
    # Pixels of the crop span rows 0-2, 2-4, 4-6 and 6-8, with centers at 1, 3, 5 and 7.
    for top, wanted in [(0.9, [1, 1, 1, 1]), (3.0, [0, 1, 1, 1]), (3.1, [0, 0, 1, 1])]:
        assert Margins(top=top).weights((4, 4), windows, sizes)[0, :, 0].tolist() == wanted
        assert Margins(left=top).weights((4, 4), windows, sizes)[0, 0].tolist() == wanted
    for bottom, wanted in [
        (0.9, [1, 1, 1, 1]),
        (1.0, [1, 1, 1, 0]),
        (2.9, [1, 1, 1, 0]),
        (3.1, [1, 1, 0, 0]),
    ]:
        assert Margins(bottom=bottom).weights((4, 4), windows, sizes)[0, :, 0].tolist() == wanted
