"""Images of a command that takes ``value_range`` itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.images import ImageReader, ValueRangeError
from hiast.errors import InputError


def read_or_advise(reader: ImageReader, path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """The image, as ``reader`` reads it.

    Raises:
        InputError: As ``reader.read``. Where values need a range, the command's own argument is advised, since there
            may be no dataset file.
    """
    try:
        return reader.read(path, max_pixels)
    except ValueRangeError as error:
        low, high = _range(error.low, error.high)
        raise InputError(
            f"{path} holds values from {_number(error.low)} to {_number(error.high)}, which are not of 8 bits: say "
            f"which become black and white, for example add value_range=[{_number(low)},{_number(high)}]."
        ) from error


def _range(low: float, high: float) -> tuple[float, float]:
    """A range for values from ``low`` to ``high``.

    Of whole numbers it is that of the bits that they need, which other images of the same camera need, too.
    """
    if low >= 0 and high > 1 and float(low).is_integer() and float(high).is_integer():
        return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)
    return (low, high) if low < high else (low, low + 1)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
