"""How far an exported file is from the network that it was made of, on images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.export.exported import ExportedModel
from hiast.prediction.inference import InferenceSettings
from hiast.prediction.job import Model


@dataclass(frozen=True)
class Difference:
    """The largest difference over some images.

    Attributes:
        images: Number of images.
        confidence: Largest difference of the confidence of a pixel, 0..1; None: the file does not give it.
        labels: Share of pixels with another label, 0..1; None: the file does not give labels.
    """

    images: int
    confidence: float | None
    labels: float | None


def largest_difference(
    model: Model,
    exported: ExportedModel,
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
    count, confidences, others, pixels = 0, [], [], 0
    for image in images:
        (wanted,) = model.predict_arrays(image[None], settings)
        found = _outputs(exported, image[None])
        if "confidence" in found:
            confidences.append(float(np.abs(wanted.confidence - found["confidence"][0]).max()))
        if "labels" in found:
            others.append(int((wanted.labels != found["labels"][0]).sum()))
        count, pixels = count + 1, pixels + wanted.labels.size
    return Difference(
        count, max(confidences) if confidences else None, sum(others) / pixels if others else None
    )


def _outputs(exported: ExportedModel, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Labels and confidence [B, H, W], as far as the file gives them."""
    if "logits" not in exported.description.outputs:
        return exported.outputs(images)
    (found,) = exported.predict_arrays(images, InferenceSettings())
    return {"labels": found.labels[None], "confidence": found.confidence[None]}
