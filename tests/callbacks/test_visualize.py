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

from hiast.callbacks.picture_sheet import PictureSheet
from hiast.classes import CITYSCAPES_19
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
    torch.manual_seed(0)
    module = Tiny(OneConvolution(), CITYSCAPES_19, max_steps=4)
    training = DataLoader([{"target": make_sample(seed, strong=True)} for seed in range(8)], batch_size=2)
    validation = DataLoader([make_sample(seed, size=(40 + seed, 80)) for seed in range(5)], batch_size=1)
    callback = PictureSheet(folder, count)
    trainer = pl.Trainer(
        max_epochs=1,
        val_check_interval=2,
        callbacks=[callback],
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, training, validation)
    return callback


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "pictures"
    run(folder, 3)
    return folder


def test_a_sheet_is_written_after_each_validation_but_not_after_the_sanity_check(sheets: Path) -> None:
    found = sorted(path.name for path in sheets.iterdir())
    assert found == ["self_training_1_000002.png", "self_training_1_000004.png"]


def test_a_sheet_shows_images_labels_and_the_training_batch(sheets: Path) -> None:
    picture = np.asarray(Image.open(sheets / "self_training_1_000004.png"))
    width, gap, caption = 320, 6, 18
    assert picture.shape[1] == 4 * (width + gap) + gap
    # Row by row, from sizes alone: three validation images of growing height, then the training image.
    heights = [round(rows * width / 80) for rows in (40, 41, 42)] + [160]
    tops = np.cumsum([0] + [height + caption + gap for height in heights])[:-1] + caption
    for seed, (top, height) in enumerate(zip(tops[:3], heights[:3], strict=True)):
        label = make_sample(seed, size=(40 + seed, 80))["label"].numpy()
        left = gap + 2 * (width + gap)
        shown = picture[top + 2 : top + height : 4, left + 2 : left + width : 4]
        assert (shown == CITYSCAPES_19.colorize(label)[: len(shown)]).all(-1).mean() > 0.97
    weak = picture[tops[3] : tops[3] + 160, gap : gap + width].astype(int)
    strong = picture[tops[3] : tops[3] + 160, 2 * gap + width : 2 * (gap + width)].astype(int)
    assert np.abs(weak + strong - 255).max() <= 2


def test_no_sheet_for_count_zero(tmp_path: Path) -> None:
    run(tmp_path / "pictures", 0)
    assert not (tmp_path / "pictures").exists()


def test_more_images_than_there_are(tmp_path: Path) -> None:
    callback = run(tmp_path, 10)
    assert [np.asarray(Image.open(path)).shape[0] > 6 * 160 for path in tmp_path.iterdir()] == [True, True]
    assert callback._rows == []
