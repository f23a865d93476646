"""An own strong augmentation has to give an image as it gets one; another one is refused before anything trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hiast.data import (
    AdaptationDataModule,
    CityscapesDataModule,
    GTA5DataModule,
    RandomSizedCrop,
    WeakAugmentation,
)
from hiast.errors import InputError
from hiast.training.views import StepKey, Views

WEAK = WeakAugmentation(RandomSizedCrop(32, 64, 20, 64))


def in_place(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    image[:2] = 0
    return image


def module(root: Path, strong: Callable | None) -> AdaptationDataModule:
    sides = GTA5DataModule(root), CityscapesDataModule(root)
    return AdaptationDataModule(*sides, source_augmentation=WEAK, target_augmentation=WEAK, strong=strong)


@pytest.mark.parametrize(
    ("strong", "wanted"),
    [
        (lambda rng, image: image / 255.0, r"float64 \[32, 64, 3\] for an image uint8 \[32, 64, 3\]"),
        (lambda rng, image: image.astype(np.float32), "float32"),
        (lambda rng, image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), r"uint8 \[32, 64\]"),
        (lambda rng, image: image[:16], r"uint8 \[16, 64, 3\]"),
        (lambda rng, image: torch.from_numpy(image), "gives Tensor"),
        (lambda rng, image: None, "gives NoneType"),
        (lambda rng, image: image if rng.random() < 0.5 else image[..., 0], r"uint8 \[32, 64\]"),
        (in_place, "changes the image that it is given"),
        (None, "needs a strong augmentation"),
    ],
)
def test_refused_before_anything_trains(drawn_data: Path, strong: Callable | None, wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        module(drawn_data, strong).check_strong_view()


def test_what_keeps_to_the_contract_is_taken(drawn_data: Path) -> None:
    module(drawn_data, lambda rng, image: np.ascontiguousarray(255 - image)).check_strong_view()


class Step:
    """A color step of a user's own."""

    def __init__(self, change: Callable) -> None:
        self.change = change

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return self.change(images)


@pytest.mark.parametrize("view", ["source", "mixed", "masked"])
@pytest.mark.parametrize(
    ("change", "wanted"),
    [(lambda x: x / 255, "torch.float32"), (lambda x: x[..., ::2], "32"), (lambda x: None, "NoneType")],
)
def test_steps_of_online_views(view: str, change: Callable, wanted: str) -> None:
    with pytest.raises(InputError, match=f"views.{view}: Step gives .*{wanted}"):
        Views(**{view: [Step(change)]})
    views = Views(**{view: [Step(lambda x: 255 - x)]})
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert (views.colored(images, view, StepKey(0, 1, 0, 0)) == 255).all()
