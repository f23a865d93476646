"""Palettes of label files: the colors that stand beside the ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hiast.data.io.labels import holds_array
from hiast.data.io.raster import read_palette


def palette_colors(path: Path, used: Iterable[int]) -> dict[int, str]:
    """Index -> color as "red,green,blue", of indices that occur in a palette image; no pixel is decoded.

    It is empty for files without a palette, and where all colors are gray: such a palette says no more than the index.

    Args:
        path: Label file.
        used: The indices that occur.

    Raises:
        InputError: The file is missing or damaged.
    """
    palette = [] if holds_array(path) else read_palette(path).tolist()
    colors = {index: palette[index] for index in used if index < len(palette)}
    if all(len(set(color)) == 1 for color in colors.values()):
        return {}
    return {index: ",".join(map(str, color)) for index, color in colors.items()}
