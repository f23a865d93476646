"""Images to compare on where none are given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hiast.scenes import CAMERA, draw_scene

SIZES = ((96, 192), (128, 256), (97, 131), (75, 200), (160, 64))
"""(height, width) of the drawn images: some that strides divide, some that they do not."""


def drawn_images() -> Iterator[NDArray[np.uint8]]:
    """Drawn street scenes uint8 [H, W, 3] of different sizes, always the same."""
    for number, size in enumerate(SIZES):
        yield draw_scene(number, size, CAMERA)[0]
