"""Block masks: the share, the grid, and that nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from hiast.errors import InputError
from hiast.online import BlockMasking, block_mask, generator_at, mask_images


@pytest.mark.parametrize(
    ("height", "width", "block"), [(64, 96, 32), (100, 70, 32), (33, 47, 16), (8, 8, 64)]
)
def test_blocks_are_those_of_a_grid_stretched_by_nearest_neighbor(height, width, block):
    rows, columns = max(1, round(height / block)), max(1, round(width / block))
    dropped = block_mask(generator_at(3), 5, height, width, 0.5, block)
    assert dropped.dtype == torch.bool
    numbers = torch.rand(5, rows, columns, generator=generator_at(3))
    grid = (numbers < 0.5).float().unsqueeze(1)
    for row in range(height):
        for column in range(width):
            cell = grid[:, 0, row * rows // height, column * columns // width].bool()
            assert torch.equal(dropped[:, row, column], cell)
    wanted = F.interpolate(grid, (height, width), mode="nearest").squeeze(1).bool()
    assert (wanted == dropped).float().mean() > 0.99  # torch's own rounds the scale


@pytest.mark.parametrize("ratio", [0.3, 0.7])
def test_the_share_of_dropped_blocks_is_the_ratio(ratio):
    dropped = block_mask(generator_at(1), 64, 64, 64, ratio, 4)
    # 16,384 blocks: a standard deviation below 0.004.
    assert abs(float(dropped.float().mean()) - ratio) < 0.016
    assert len({float(image.float().mean()) for image in dropped}) > 20, "each image has its own mask"


def test_ratios_0_and_1():
    assert not block_mask(generator_at(0), 2, 32, 32, 0.0, 8).any()
    assert block_mask(generator_at(0), 2, 32, 32, 1.0, 8).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
def test_dropped_pixels_become_the_mean_color_and_gradients_pass_elsewhere(kind):
    images = torch.randn(2, 3, 32, 32).to(kind).requires_grad_()
    masked, dropped = BlockMasking(0.5, 8)(images, generator_at(4))
    assert 0 < dropped.float().mean() < 1
    assert masked.dtype == kind
    assert torch.equal(masked, torch.where(dropped.unsqueeze(1), torch.zeros((), dtype=kind), images))
    masked.sum().backward()
    assert torch.equal(images.grad, (~dropped).unsqueeze(1).expand_as(images).to(kind))


def test_a_generator_decides_the_draw():
    masks = [BlockMasking()(torch.zeros(2, 3, 256, 256), generator_at(0, step))[1] for step in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="ratio"):
        BlockMasking(ratio=1.2)
    with pytest.raises(InputError, match="block"):
        BlockMasking(block=0)
    with pytest.raises(InputError, match="normalize"):
        BlockMasking()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), generator_at(0))
    with pytest.raises(InputError, match="fit"):
        mask_images(torch.zeros(1, 3, 8, 8), torch.zeros(1, 8, 9, dtype=torch.bool))
