"""The one place that imports albumentations: its transforms as steps of an augmentation here.

albumentations is archived; whatever uses it goes through this file, so that it can be replaced the day it breaks.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def import_albumentations() -> ModuleType:
    """The albumentations package, imported without asking PyPI for a newer version, which it does by default.

    An existing value of ``NO_ALBUMENTATIONS_UPDATE`` is respected.
    """
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    return import_module("albumentations")


class Seeded:
    """Any transform of albumentations as a step here; its draws are seeded anew by each call's generator.

    Args:
        transform: A transform or a ``Compose`` that keeps the size of the image (``p`` is respected).
    """

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, rng: np.random.Generator, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Transform an image uint8 [H, W, 3]."""
        self.transform.set_random_seed(int(rng.integers(2**31)))
        changed: NDArray[np.uint8] = self.transform(image=image)["image"]
        return changed


def color_jitter(brightness: float, contrast: float, saturation: float, hue: float) -> Seeded:
    """Color jitter: factors 1 +- strength, hue shift +- ``hue`` of the circle."""
    spans = [(1 - strength, 1 + strength) for strength in (brightness, contrast, saturation)]
    return Seeded(import_albumentations().ColorJitter(*spans, hue=(-hue, hue), p=1))


def global_operations() -> tuple[Seeded, ...]:
    """The operations of the published strong view that need no strength, in its order.

    Contrast (values times a gain of 1-4, clipped), brightness (+- half the range), posterize to 4 bits, equalize each
    channel, solarize above 127, gray.
    """
    package = import_albumentations()
    return (
        Seeded(package.RandomBrightnessContrast(brightness_limit=(0, 0), contrast_limit=(0, 3), p=1)),
        Seeded(package.RandomBrightnessContrast(brightness_limit=(-0.5, 0.5), contrast_limit=(0, 0), p=1)),
        Seeded(package.Posterize(num_bits=4, p=1)),
        Seeded(package.Equalize(p=1)),
        Seeded(package.Solarize(threshold_range=(0.5, 0.5), p=1)),
        Seeded(package.ToGray(p=1)),
    )
