from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.classes import CITYSCAPES_19, IGNORED
from hiast.errors import InputError
from hiast.evaluation import mask_path, write_mask


def test_a_mask_keeps_indices_and_shows_colors(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 19, (20, 30)).astype(np.uint8)
    labels[:2] = IGNORED
    path = tmp_path / "city" / "deep" / "one.png"
    write_mask(path, labels, CITYSCAPES_19)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), labels)
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), CITYSCAPES_19.colorize(labels))
    assert [file.name for file in path.parent.iterdir()] == ["one.png"]


def test_a_mask_is_replaced_whole(tmp_path: Path) -> None:
    for value in (1, 2):
        write_mask(tmp_path / "a.png", np.full((2, 2), value, np.uint8), CITYSCAPES_19)
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("labels", [np.zeros((2, 2), np.int64), np.zeros((2, 2, 3), np.uint8)])
def test_only_label_maps_are_written(labels: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uint8"):
        write_mask(tmp_path / "a.png", labels, CITYSCAPES_19)
    assert list(tmp_path.iterdir()) == []


def test_names_become_paths_with_their_folders_and_dots(tmp_path: Path) -> None:
    assert mask_path(tmp_path, "city/a_1.5_x") == tmp_path / "city" / "a_1.5_x.png"
    assert mask_path(tmp_path, "12:30") == tmp_path / "12:30.png"


@pytest.mark.parametrize("name", ["", "..", "../a", "a/../../b", "/etc/a", "a\\..\\b", "C:/a"])
def test_names_that_leave_the_folder_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out"):
        mask_path(tmp_path, name)
