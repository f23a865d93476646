"""How far an exported file is from the network that it was made of, on images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiast.prediction.inference import InferenceSettings
from hiast.prediction.job import Model


@dataclass(frozen=True)
class Difference:
    """The largest difference over some images.

    Attributes:
        images: Number of images.
        confidence: Largest difference of the confidence of a pixel, 0..1.
        labels: Share of pixels with another label, 0..1.
    """

    images: int
    confidence: float
    labels: float


def largest_difference(
    model: Model,
    exported: Model,
    images: Iterable[NDArray[np.uint8]],
    size: tuple[int, int] | None,
) -> Difference:
    """Compare on images uint8 [H, W, 3].

    Args:
        model: The network.
        exported: The file made of it.
        images: One image or more.
        size: (height, width) to which the exported graph resizes images; None: it does not.
    """
    settings = InferenceSettings(sizes=None if size is None else (size,))
    count, confidence, other, pixels = 0, 0.0, 0, 0
    for image in images:
        (wanted,) = model.predict_arrays(image[None], settings)
        (found,) = exported.predict_arrays(image[None], InferenceSettings())
        confidence = max(confidence, float(np.abs(wanted.confidence - found.confidence).max()))
        other += int((wanted.labels != found.labels).sum())
        count, pixels = count + 1, pixels + wanted.labels.size
    return Difference(count, confidence, other / max(1, pixels))
