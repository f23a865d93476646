"""Checks of settings and tensors that several ingredients share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hiast.errors import InputError


def check_shares(what: str, **values: Any) -> None:
    """Refuse settings that are not numbers from 0 to 1.

    Raises:
        InputError: Names what the setting belongs to, the setting and its value.
    """
    for name, value in values.items():
        if not isinstance(value, Real) or not (math.isfinite(value) and 0 <= float(value) <= 1):
            raise InputError(f"{what}: {name} is {value}; give a number from 0 to 1.")


def check_choice(what: str, name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a setting that is none of ``choices``.

    Raises:
        InputError: Names the setting, its value and the choices.
    """
    if value not in choices:
        raise InputError(f"{what}: {name} is {value!r}; choose one of {', '.join(choices)}.")


def check_images(what: str, images: Tensor) -> None:
    """Refuse images that are not uint8 or floating [B,3,H,W].

    Raises:
        InputError: Names the shape and type that were given.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not _is_image_type(images):
        raise InputError(
            f"{what} is {images.dtype} {list(images.shape)}; give images [B, 3, H, W], uint8 or floating."
        )


def check_predictions(confidence: Tensor, prediction: Tensor, valid: Tensor | None, num_classes: int) -> None:
    """Compare a teacher's confidences, predictions and valid pixels, all [B,H,W].

    Values are looked at on the CPU only, since looking at them on a GPU would make every step wait for it.

    Args:
        confidence: Floating, 0 to 1.
        prediction: Integer, 0 to ``num_classes - 1``.
        valid: Bool or None.
        num_classes: C, 1 to 255.

    Raises:
        InputError: Shapes or types do not fit, or (CPU) a value is out of range or not a number.
    """
    if confidence.ndim != 3 or confidence.shape != prediction.shape or not confidence.is_floating_point():
        raise InputError(
            "Confidence must be a floating tensor [B, H, W] and prediction an integer one of that shape, not "
            f"{confidence.dtype} {list(confidence.shape)} and {prediction.dtype} {list(prediction.shape)}."
        )
    if prediction.is_floating_point() or prediction.dtype == torch.bool:
        raise InputError(f"Prediction must hold class indices of an integer type, not {prediction.dtype}.")
    if valid is not None and (valid.dtype != torch.bool or valid.shape != confidence.shape):
        raise InputError(
            f"valid is {valid.dtype} {list(valid.shape)}; give a bool tensor {list(confidence.shape)}."
        )
    if confidence.device.type != "cpu" or confidence.numel() == 0:
        return
    low, high = (float(value) for value in torch.aminmax(confidence.detach()))
    # Averages of probabilities can exceed 1 by a rounding error, also in half precision.
    if not (low >= 0 and high <= 1.001):
        raise InputError(f"Confidences must lie between 0 and 1, but these range from {low} to {high}.")
    first, last = (int(value) for value in torch.aminmax(prediction))
    if first < 0 or last >= num_classes:
        raise InputError(
            f"Predictions must be class indices from 0 to {num_classes - 1}, but these go from {first} to {last}."
        )


def check_num_classes(num_classes: int) -> None:
    """Refuse a number of classes outside 1 to 255.

    Raises:
        InputError: Names the number.
    """
    if not 1 <= num_classes <= 255:
        raise InputError(f"num_classes is {num_classes}; it must lie between 1 and 255.")


def _is_image_type(images: Tensor) -> bool:
    return images.dtype == torch.uint8 or images.is_floating_point()
