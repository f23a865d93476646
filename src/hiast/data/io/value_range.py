"""Values of more than 8 bits as 8 bits: which become black and white."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError

_DARK = 4096
"""A 16-bit image without a value from here on would have 16 of 256 gray levels or fewer."""


class ValueRangeError(InputError):
    """Raised when the values of an image need a ``value_range``.

    Attributes:
        low: Smallest value in the file.
        high: Largest value.
        dtype: Type of the values, such as "float32".
    """

    def __init__(self, message: str, low: float, high: float, dtype: str) -> None:
        super().__init__(message)
        self.low = low
        self.high = high
        self.dtype = dtype


def checked_range(value_range: Any) -> tuple[float, float]:
    """(low, high) of a setting.

    Raises:
        InputError: It is not two numbers in this order.
    """
    try:
        low, high = (float(value) for value in value_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"value_range is {value_range}: give two numbers, [low, high], the lower one first.")
    return low, high


def to_bytes(
    pixels: NDArray[Any], bits: int, value_range: tuple[float, float] | None, path: Path
) -> NDArray[np.uint8]:
    """Values of 8 bits.

    Args:
        pixels: Values as stored.
        bits: Significant bits of a value.
        value_range: (low, high): mapped linearly to 0 and 255, and clipped. None: the upper eight bits. Values of 8
            bits are returned as stored in any case, so that photographs may lie beside images of more bits.
        path: File, for messages.

    Raises:
        ValueRangeError: The values need a ``value_range``.
    """
    if pixels.dtype == np.uint8:
        stored: NDArray[np.uint8] = pixels
        return stored
    if value_range is not None:
        low, high = value_range
        # float32 holds 16-bit values exactly and takes half of the memory.
        wide = pixels.astype(np.float32 if pixels.dtype.itemsize <= 2 else np.float64)
        scaled = np.clip(wide, low, high)
        scaled = np.nan_to_num((scaled - low) * (255 / (high - low)), nan=0)
        eight: NDArray[np.uint8] = np.rint(scaled).astype(np.uint8)
        return eight
    if pixels.dtype != np.uint16:
        low, high = extremes(pixels)
        raise ValueRangeError(
            f"{path} holds values of type {pixels.dtype} from {low:g} to {high:g}: set value_range to the "
            f"values that become black and white, such as [{low:g}, {high:g}].",
            low,
            high,
            str(pixels.dtype),
        )
    if bits == 16:
        low, high = extremes(pixels)
        if low < high < _DARK:
            raise ValueRangeError(
                f"{path} holds 16-bit values from {low:g} to {high:g}, which would all be black or nearly so: set "
                f"value_range to what the camera gives, such as [0, {_next_power(high) - 1}], or "
                "to [0, 65535] if the image is meant to be dark.",
                low,
                high,
                str(pixels.dtype),
            )
    upper: NDArray[np.uint8] = (pixels >> (bits - 8)).astype(np.uint8)
    return upper


def extremes(pixels: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite value; (0, 0) if there is none."""
    if pixels.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    return (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)


def _next_power(value: float) -> int:
    """The smallest power of two above a value, at least 256."""
    return int(max(256, 2 ** math.ceil(math.log2(value + 1))))
