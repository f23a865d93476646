"""Sizes of a scenario for images of some size: of validation, and of the windows that training cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hiast.errors import InputError

Size = tuple[int, int]
"""(height, width) in pixels."""

LARGEST = 512 * 1024
"""Pixels of a training image at most, as published for photographs of 1024 x 2048."""
_MULTIPLE = 32
_SMALLEST = 64
_ZOOM = 2 / 3
"""Height of the smallest window as a share of the crop's: it is enlarged by half."""


@dataclass(frozen=True)
class Windows:
    """Heights of the windows that are cut from the images of a domain, in pixels of the image."""

    min_height: int
    max_height: int


@dataclass(frozen=True)
class ScenarioSizes:
    """What a scenario says about sizes.

    Attributes:
        crop: (height, width) of a training image.
        validation: (height, width) at which the network sees whole images.
        source: Windows of the source.
        target: Windows of the target.
    """

    crop: Size
    validation: Size
    source: Windows
    target: Windows


def propose_sizes(source: Sequence[Size], target: Sequence[Size] = ()) -> ScenarioSizes:
    """Sizes for some images.

    Whole images of the target are seen at their own size, or smaller if they have more than ``LARGEST`` pixels, rounded
    to multiples of 32, which all networks take. Training cuts windows from two thirds of that height up to the whole
    image.

    Args:
        source: (height, width) of source images; not empty.
        target: (height, width) of target images; empty: those of the source.

    Examples:
        >>> propose_sizes([(128, 256)])
        ScenarioSizes(crop=(128, 256), validation=(128, 256), source=Windows(min_height=85, max_height=128), \
target=Windows(min_height=85, max_height=128))
    """
    if not source:
        raise InputError("Sizes can be proposed for at least one image.")
    target = target or source
    crop = _rounded(_median(target))
    return ScenarioSizes(crop, crop, _windows(source, crop), _windows(target, crop))


def _median(sizes: Sequence[Size]) -> Size:
    """The size in the middle, by the number of pixels."""
    return sorted(sizes, key=lambda size: (size[0] * size[1], size))[len(sizes) // 2]


def _rounded(size: Size) -> Size:
    scale = min(1.0, math.sqrt(LARGEST / (size[0] * size[1])))
    height, width = (max(_SMALLEST, int(side * scale / _MULTIPLE + 0.5) * _MULTIPLE) for side in size)
    return height, width


def _windows(sizes: Sequence[Size], crop: Size) -> Windows:
    # The tallest window of the crop's proportions that fits into each image.
    fitting = sorted(max(1, min(height, width * crop[0] // crop[1])) for height, width in sizes)
    largest = fitting[len(fitting) // 2]
    return Windows(min(round(_ZOOM * crop[0]), fitting[0], largest), largest)
