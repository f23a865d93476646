"""Palettes of label files: the colors that stand beside the ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hiast.data.io.labels import holds_array
from hiast.data.io.raster import open_raster, read_header
from hiast.data.io.sniff import MAX_PIXELS


def palette_colors(path: Path, max_pixels: int = MAX_PIXELS) -> dict[int, str]:
    """Index -> color as "red,green,blue", of the indices that occur in a palette image.

    It is empty for files without a palette, and where all colors are gray: such a palette says no more than the index.

    Args:
        path: Label file.
        max_pixels: Larger labels are refused.

    Raises:
        InputError: The file is missing, damaged or too large.
    """
    if holds_array(path) or not read_header(path, max_pixels).palette:
        return {}
    encoded = open_raster(path, max_pixels)
    indices = encoded.decode(indices=True).pixels
    colors = encoded.decode().pixels[..., :3]
    values, places = np.unique(indices, return_index=True)
    used = colors.reshape(-1, colors.shape[-1])[places]
    if used.shape[1] < 3 or (used == used[:, :1]).all():
        return {}
    return {int(value): ",".join(map(str, color)) for value, color in zip(values, used.tolist(), strict=True)}
