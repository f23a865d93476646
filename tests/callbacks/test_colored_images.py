"""Tests of source images in the colors of target images."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_network import bare_trainer
from target_images import module_of

from hiast import OnlineModule
from hiast.callbacks.colored_images import colored_images

LABEL = np.tile(np.arange(4, dtype=np.uint8), (32, 16))


class Gray:
    """Images of gray noise around a level that depends on the index."""

    def __init__(self, levels: list[int], spread: int) -> None:
        self.levels, self.spread = levels, spread

    def __len__(self) -> int:
        return len(self.levels)

    def read_image(self, index: int) -> np.ndarray:
        noise = np.random.default_rng(index).integers(-self.spread, self.spread + 1, (32, 64, 1))
        return np.repeat(self.levels[index] + noise, 3, 2).astype(np.uint8)

    def read_label(self, index: int) -> np.ndarray:
        return LABEL


def found(rank: int = 0, world_size: int = 1, count: int = 3):
    trainer = bare_trainer() if world_size == 1 else SimpleNamespace(global_rank=rank, world_size=world_size)
    source, target = Gray([60, 70, 80], spread=5), Gray([150, 0, 180, 0, 210], spread=20)
    return list(colored_images(trainer, module_of(OnlineModule), source, target, count, seed=0))


def test_each_image_gets_the_colors_of_a_target_image_of_its_own() -> None:
    samples = found()
    assert [tuple(colored.shape) for _, colored, _ in samples] == [(1, 3, 32, 64)] * 3
    for (image, colored, label), source, target in zip(samples, (60, 70, 80), (150, 180, 210), strict=True):
        assert image.float().mean() == pytest.approx(source, abs=2)
        assert colored.float().mean() == pytest.approx(target, abs=4)
        assert 8 < colored.float().std() < 16 and image.float().std() < 4
        assert torch.equal(label[0], torch.from_numpy(LABEL))


def test_several_processes_look_at_what_one_looks_at() -> None:
    alone, shared = found(), [found(rank, 2) for rank in range(2)]
    assert [len(share) for share in shared] == [2, 1]
    for sample, other in zip(alone, (shared[0][0], shared[1][0], shared[0][1]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(sample, other, strict=True))


def test_fewer_images_are_spread_over_both_sets() -> None:
    levels = [
        (image.float().mean().item(), colored.float().mean().item()) for image, colored, _ in found(count=2)
    ]
    assert levels == [pytest.approx((60, 150), abs=4), pytest.approx((80, 210), abs=4)]
