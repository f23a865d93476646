"""Drawing for people: label maps, confidence and images side by side on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiast.classes import IGNORED, LabelSpace

Picture = NDArray[np.uint8]

_GAP, _CAPTION, _TEXT = 6, 18, 12
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


@dataclass(frozen=True)
class Tile:
    """A picture with a line of text above it.

    Attributes:
        picture: uint8 [H, W, 3] RGB.
        caption: Text; cut where it does not fit.
        smooth: Whether pixels may be blended when the size changes; not for labels.
    """

    picture: Picture
    caption: str = ""
    smooth: bool = False


def heat(values: NDArray[np.float32], low: float = 0.0, high: float = 1.0) -> Picture:
    """Picture uint8 [H, W, 3] of a map float [H, W]: dark blue at ``low`` or below, yellow at ``high`` or above."""
    scaled = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
    colored = cv2.applyColorMap((scaled * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(colored[..., ::-1])


def where_kept(image: Picture, labels: NDArray[np.uint8]) -> Picture:
    """An image uint8 [H, W, 3] that is dark and gray where ``labels`` uint8 [H, W] is ignored."""
    gray = (image.mean(-1, keepdims=True) * 0.3).astype(np.uint8)
    return np.where((labels == IGNORED)[..., None], gray, image)


def sheet(rows: Sequence[Sequence[Tile]], classes: LabelSpace | None = None, width: int = 320) -> Picture:
    """Lay tiles out in rows, with a legend of the classes below.

    Args:
        rows: Tiles of each row, left to right; rows may differ in length, pictures in size.
        classes: What the legend names; None: no legend.
        width: Width of a tile in pixels; its height follows from its picture's proportions.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    heights = [max((_height(tile, width) for tile in row), default=0) + _CAPTION + _GAP for row in rows]
    columns = max((len(row) for row in rows), default=1)
    full_width = columns * (width + _GAP) + _GAP
    legend = [] if classes is None else _legend(classes, full_width)
    full_height = sum(heights) + _GAP + (legend[-1][1] + _CAPTION if legend else 0)
    paper = Image.new("RGB", (full_width, full_height), _PAPER)
    draw = ImageDraw.Draw(paper)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            _place(paper, draw, tile, (_GAP + column * (width + _GAP), top), width)
        top += height
    for left, below, name, color in legend:
        box = (left, top + _GAP + below, left + _TEXT, top + _GAP + below + _TEXT)
        draw.rectangle(box, fill=color, outline=_INK)
        draw.text((left + _TEXT + 4, box[1]), name, _INK, font())
    return np.asarray(paper)


def font(size: int = _TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that Pillow carries."""
    return ImageFont.load_default(size)


def _height(tile: Tile, width: int) -> int:
    shape: tuple[int, ...] = tile.picture.shape
    return max(1, round(shape[0] * width / shape[1]))


def _place(
    paper: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, corner: tuple[int, int], width: int
) -> None:
    text = tile.caption
    while text and draw.textlength(text, font()) > width:
        text = text[:-1]
    draw.text((corner[0], corner[1] + 3), text, _INK, font())
    shrinks = tile.picture.shape[1] > width
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    size = (width, _height(tile, width))
    resized = cv2.resize(tile.picture, size, interpolation=smooth if tile.smooth else cv2.INTER_NEAREST)
    paper.paste(Image.fromarray(resized), (corner[0], corner[1] + _CAPTION))


def _legend(classes: LabelSpace, width: int) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Left, top, name and color of each entry, in lines of at most ``width``."""
    entries = []
    left, top = _GAP, 0
    for name, color in [*zip(classes.names, classes.colors, strict=True), ("ignored", (0, 0, 0))]:
        length = round(font().getlength(name)) + _TEXT + 4
        if left > _GAP and left + length > width:
            left, top = _GAP, top + _CAPTION
        entries.append((left, top, name, color))
        left += length + 14
    return entries
