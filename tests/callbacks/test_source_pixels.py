"""Class pixels of a source, as often as its datasets are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hiast.callbacks.source_pixels import source_pixels
from hiast.data import CityscapesDataModule, GTA5DataModule, JoinedDataModule


def shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum()


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (0.25, 0.75)])
def test_weights_of_joined_datasets_count(drawn_data: Path, weights: tuple[float, float]) -> None:
    parts = [GTA5DataModule(drawn_data), CityscapesDataModule(drawn_data)]
    alone = [shares(source_pixels(part)) for part in parts]
    joined = JoinedDataModule(parts, weights=weights)
    expected = sum(weight * share for weight, share in zip(weights, alone, strict=True))
    np.testing.assert_allclose(shares(source_pixels(joined)), expected, atol=1e-9)
    assert not np.allclose(alone[0], alone[1])


def test_without_weights_all_images_count_alike(drawn_data: Path) -> None:
    parts = [GTA5DataModule(drawn_data), CityscapesDataModule(drawn_data)]
    together = source_pixels(JoinedDataModule(parts))
    np.testing.assert_array_equal(together, source_pixels(parts[0]) + source_pixels(parts[1]))


def test_one_small_image_does_not_decide_about_rare_classes(drawn_copy: Path) -> None:
    from PIL import Image

    usual = GTA5DataModule(drawn_copy, rare_class_sampling={}).train_order().min_pixels  # type: ignore[attr-defined]
    for kind in ("images", "labels"):
        file = sorted((drawn_copy / "GTA5" / kind).glob("*.png"))[0]
        image = Image.open(file)
        image.resize((32, 16), Image.Resampling.NEAREST).save(file)
    assert GTA5DataModule(drawn_copy, rare_class_sampling={}).train_order().min_pixels == usual  # type: ignore[attr-defined]
