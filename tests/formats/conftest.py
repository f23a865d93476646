"""Label maps and classes that the tests of the formats share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hiast.classes import LabelSpace
from hiast.formats import Item

NAMES = ("road", "traffic light", "Straße, naß", "二輪車", 'quote"s & <tags>')
# One class is black and two have the same color, which color pictures cannot tell apart.
CLASSES = LabelSpace(NAMES, ((128, 64, 128), (0, 0, 0), (70, 70, 70), (70, 70, 70), (220, 20, 60)))


def _maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ring = np.full((9, 11), 255, np.uint8)
    ring[1:8, 1:10] = 0
    ring[2:7, 2:9] = 1  # within it
    ring[3:6, 3:8] = 255  # a hole
    ring[4, 5] = 2  # an island of one pixel
    dots = np.full((6, 7), 255, np.uint8)
    dots[0, 0] = dots[5, 6] = 3
    dots[2, 2] = dots[3, 3] = 4  # touch at a corner
    noise = rng.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (23, 31))
    blocks = np.kron(rng.integers(0, 5, (5, 6)), np.ones((7, 9), np.int64)).astype(np.uint8)
    return {
        "rings": ring,
        "dots": dots,
        "noise": noise,
        "blocks": blocks,
        "one class": np.full((5, 4), 2, np.uint8),
        "all ignored": np.full((4, 5), 255, np.uint8),
        "one pixel": np.array([[1]], np.uint8),
        "one row": np.array([[0, 0, 255, 3, 3, 1]], np.uint8),
        "one column": np.array([[0], [255], [3]], np.uint8),
        "sub folder/große, Nr. 1": np.roll(noise, 5, axis=1),
    }


MAPS = _maps()


@pytest.fixture
def classes() -> LabelSpace:
    return CLASSES


@pytest.fixture
def maps() -> dict[str, np.ndarray]:
    """Name -> label map uint8 [H, W] of up to five classes, with everything that is hard."""
    return {name: labels.copy() for name, labels in MAPS.items()}


@pytest.fixture
def make_items(tmp_path: Path) -> Callable[..., list[Item]]:
    """Turns label maps into items whose images exist, with or without confidence."""

    def make(maps: dict[str, np.ndarray], confidence: bool = False) -> list[Item]:
        rng = np.random.default_rng(1)
        items = []
        for name, labels in maps.items():
            image = tmp_path / "pictures" / f"{name}.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*labels.shape, 3)).astype(np.uint8)).save(image)
            trust = rng.random(labels.shape, dtype=np.float32) if confidence else None
            items.append(Item(name, labels, image, trust))
        return items

    return make
