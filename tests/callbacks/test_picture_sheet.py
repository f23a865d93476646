"""The sheet of pictures at each validation: which images, in which places, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hiast.callbacks.picture_sheet import PictureSheet, spread_places
from hiast.classes import CITYSCAPES_19
from hiast.evaluation.pictures import CAPTION, GAP, WIDTH, fitted, resized
from hiast.models import SegmentationNetwork
from hiast.scenes import draw_scene
from hiast.training.module import AdaptationModule


class OneConvolution(SegmentationNetwork):
    num_classes = 19
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 19, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images)

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def head_parameters(self) -> Iterator[nn.Parameter]:
        return self.head.parameters()


class Tiny(AdaptationModule):
    stage = "self_training"
    domains = ("target",)

    def losses(self, batch: Any) -> dict[str, Tensor]:
        return {"total": self(batch["target"]["strong"]).square().mean()}


def make_sample(seed: int, strong: bool = False, size: tuple[int, int] = (32, 64)) -> dict[str, Any]:
    image, label = draw_scene(seed, size)
    sample = {
        "image": torch.from_numpy(image.transpose(2, 0, 1).copy()),
        "label": torch.from_numpy(label),
        "name": f"Zürich/{seed}",
    }
    return sample | ({"strong": 255 - sample["image"]} if strong else {})


def run(folder: Path, count: int) -> PictureSheet:
    return train(PictureSheet(folder, count))[0]


def trained() -> AdaptationModule:
    """The module at the end of ``run``."""
    return train()[1]


def train(callback: PictureSheet | None = None) -> tuple[PictureSheet | None, AdaptationModule]:
    torch.manual_seed(0)
    module = Tiny(OneConvolution(), CITYSCAPES_19, max_steps=4)
    training = DataLoader([{"target": make_sample(seed, strong=True)} for seed in range(8)], batch_size=2)
    validation = DataLoader([make_sample(seed, size=(40 + seed, 80)) for seed in range(5)], batch_size=1)
    trainer = pl.Trainer(
        max_epochs=1,
        val_check_interval=2,
        callbacks=[callback] if callback else [],
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, training, validation)
    return callback, module.eval()


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "pictures"
    run(folder, 3)
    return folder


def test_a_sheet_is_written_after_each_validation_but_not_after_the_sanity_check(sheets: Path) -> None:
    found = sorted(path.name for path in sheets.iterdir())
    assert found == ["self_training_1_000002.png", "self_training_1_000004.png"]


def tile(picture: np.ndarray, heights: list[int], row: int, column: int) -> np.ndarray:
    """A tile of a sheet, from the heights of all rows."""
    top = sum(height + CAPTION + GAP for height in heights[:row]) + CAPTION
    left = GAP + column * (WIDTH + GAP)
    return picture[top : top + heights[row], left : left + WIDTH]


def test_a_sheet_shows_spread_and_hard_images_and_the_training_batch(sheets: Path) -> None:
    picture = np.asarray(Image.open(sheets / "self_training_1_000004.png"))
    assert picture.shape[1] == 4 * (WIDTH + GAP) + GAP
    # Of five images the first and the last are spread over the set; the third shown has the largest error.
    errors = error_of_each()
    shown = [0, 4, max((1, 2, 3), key=errors.get)]
    heights = [*(fitted(40 + seed, 80)[0] for seed in shown), WIDTH // 2]
    for row, seed in enumerate(shown):
        label = make_sample(seed, size=(40 + seed, 80))["label"].numpy()
        wanted = resized(CITYSCAPES_19.colorize(label), heights[row], WIDTH, smooth=False)
        np.testing.assert_array_equal(tile(picture, heights, row, 2), wanted)
    weak, strong = (tile(picture, heights, 3, column).astype(int) for column in (0, 1))
    assert np.abs(weak + strong - 255).max() <= 2


def error_of_each() -> dict[int, float]:
    """Share of wrong pixels of each validation image at the end of ``run``."""
    module = trained()
    errors = {}
    for seed in range(5):
        sample = make_sample(seed, size=(40 + seed, 80))
        with torch.no_grad():
            wrong = module(sample["image"][None]).argmax(1)[0] != sample["label"]
        errors[seed] = float(wrong[sample["label"] != 255].float().mean())
    return errors


@pytest.mark.parametrize(
    ("total", "count", "places"),
    [(500, 2, {0, 499}), (500, 1, {0}), (5, 3, {0, 2, 4}), (2, 4, {0, 1}), (0, 4, set()), (5, 0, set())],
)
def test_places_are_spread_evenly(total: int, count: int, places: set[int]) -> None:
    assert spread_places(total, count) == places


def test_no_sheet_for_count_zero(tmp_path: Path) -> None:
    run(tmp_path / "pictures", 0)
    assert not (tmp_path / "pictures").exists()


def test_more_images_than_there_are(tmp_path: Path) -> None:
    run(tmp_path, 10)
    assert [np.asarray(Image.open(path)).shape[0] > 6 * WIDTH // 2 for path in tmp_path.iterdir()] == [
        True,
        True,
    ]
