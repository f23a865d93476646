"""A look at some labels before training: ids that fit no class, and train ids where label ids are expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.classes import CITYSCAPES_IDS
from hiast.data import GTA5DataModule
from hiast.data.checks.label_ids import count_ids, looks_like_train_ids
from hiast.errors import InputError


def write(root: Path, ids: np.ndarray, count: int = 3) -> None:
    for folder in ("images", "labels"):
        (root / "GTA5" / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.fromarray(np.zeros((*ids.shape, 3), np.uint8)).save(root / f"GTA5/images/{index}.png")
        Image.fromarray(ids.astype(np.uint8)).save(root / f"GTA5/labels/{index}.png")


LABEL_IDS = np.random.default_rng(0).choice([0, 1, 4, 7, 8, 11, 21, 23, 26], (12, 16))
TRAIN_IDS = np.random.default_rng(0).choice([*range(19), 255], (12, 16))


def test_train_ids_in_the_place_of_label_ids_are_refused(tmp_path: Path) -> None:
    write(tmp_path, LABEL_IDS)
    assert GTA5DataModule(tmp_path).train_dataset().labeled
    write(tmp_path, TRAIN_IDS)
    with pytest.raises(
        InputError, match=r"GTA5: the labels seem to hold train ids \(0 to 18\).*FolderDataModule"
    ):
        GTA5DataModule(tmp_path).train_dataset()


def test_train_ids_are_recognized_by_several_void_ids_and_no_large_one() -> None:
    assert looks_like_train_ids({0: 9, 1: 9, 2: 5, 4: 3, 13: 1, 255: 3}, CITYSCAPES_IDS)
    for pixels in ({}, {255: 9}, {7: 9}, {0: 9, 1: 5, 7: 3}, {0: 9, 1: 9, 2: 9, 4: 9, 21: 1}):
        assert not looks_like_train_ids(pixels, CITYSCAPES_IDS)
    assert not looks_like_train_ids({0: 9, 1: 9, 2: 5, 4: 3}, {i: i for i in range(19)})


def test_ids_are_counted() -> None:
    assert count_ids(np.array([[3, 3], [65535, 0]], np.uint16)) == {0: 1, 3: 2, 65535: 1}
