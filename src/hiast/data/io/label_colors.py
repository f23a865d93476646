"""Labels that hold colors: a table turns each color into a raw id."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.labels import Ids, read_label_raster
from hiast.data.io.sniff import MAX_PIXELS
from hiast.errors import InputError

UNKNOWN_COLOR = 65535
"""Raw id of a color that a color table does not name."""

_COUNTED = 10_000


class ColorIds:
    """Reads labels that hold colors.

    Args:
        colors: (red, green, blue) of 8 bits -> raw id below 65535.
    """

    def __init__(self, colors: Mapping[tuple[int, int, int], int]) -> None:
        self.colors = tuple(sorted((r << 16 | g << 8 | b, raw) for (r, g, b), raw in colors.items()))

    def describe(self) -> str:
        """The color table."""
        return repr(self.colors)

    def raw_id(self, color: tuple[int, int, int]) -> int:
        """Raw id of (red, green, blue); ``UNKNOWN_COLOR``: it has none."""
        red, green, blue = color
        return dict(self.colors).get(red << 16 | green << 8 | blue, UNKNOWN_COLOR)

    def named(self, ids: Collection[int]) -> list[str]:
        """The colors that stand for some raw ids, as "red,green,blue"."""
        return [_text(color) for color, raw in self.colors if raw in ids]

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """Raw ids uint16 [H, W]; colors without an entry become ``UNKNOWN_COLOR``.

        Raises:
            InputError: As ``labels.read_ids``.
        """
        table = _color_table(self.colors)
        pixels = _read_colors(path, max_pixels)
        ids = np.empty(pixels.shape[:2], np.uint16)
        for rows in row_blocks(pixels):
            ids[rows] = table[_packed(pixels[rows])]
        return ids

    def unknown(self, path: Path, max_pixels: int = MAX_PIXELS) -> dict[str, int]:
        """Colors of a label that have no entry, as "red,green,blue", with their pixels; the most frequent 10,000.

        Raises:
            InputError: As ``labels.read_ids``.
        """
        table = _color_table(self.colors)
        pixels = _read_colors(path, max_pixels)
        counts = np.zeros(1 << 24, np.int32)
        for rows in row_blocks(pixels):
            packed = _packed(pixels[rows])
            found, times = np.unique(packed[table[packed] == UNKNOWN_COLOR], return_counts=True)
            counts[found] += times
        seen = np.flatnonzero(counts)
        frequent = seen[np.argsort(-counts[seen], kind="stable")][:_COUNTED]
        return {_text(color): int(counts[color]) for color in frequent.tolist()}


def row_blocks(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows of an image [H, W, ...], a million pixels at a time, for work that takes many bytes per pixel."""
    height, width = pixels.shape[:2]
    step = max(1, (1 << 20) // width)
    for top in range(0, height, step):
        yield slice(top, top + step)


def look_up(table: NDArray[np.uint8], ids: Ids) -> NDArray[np.uint8]:
    """``table[ids]``, uint8 [H, W], without the eight bytes per pixel that numpy takes for an index."""
    found = np.empty(ids.shape, np.uint8)
    for rows in row_blocks(ids):
        found[rows] = table[ids[rows]]
    return found


def _read_colors(path: Path, max_pixels: int) -> NDArray[np.uint8]:
    """Colors uint8 [H, W, 3]; gray is repeated, alpha is dropped, 16 bits keep their upper eight."""
    raster = read_label_raster(path, max_pixels, indices=False)
    pixels = raster.pixels if raster.pixels.ndim == 3 else raster.pixels[..., None]
    if raster.alpha and pixels.shape[2] > 1:
        pixels = pixels[..., :-1]
    if pixels.shape[2] not in (1, 3) or pixels.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} has {pixels.shape[2]} channels of {pixels.dtype}; a color table needs RGB colors."
        )
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _text(color: int) -> str:
    return f"{color >> 16},{color >> 8 & 255},{color & 255}"


def _packed(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Colors as red << 16 | green << 8 | blue, [H, W], of pixels [H, W, 3]."""
    wide = pixels.astype(np.int32)
    packed: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


@lru_cache(maxsize=4)
def _color_table(colors: tuple[tuple[int, int], ...]) -> NDArray[np.uint16]:
    # 32 MiB, made once per process: looking a color up is then one gather.
    table = np.full(1 << 24, UNKNOWN_COLOR, np.uint16)
    for color, raw in colors:
        table[color] = raw
    return table
