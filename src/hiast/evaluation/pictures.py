"""Pictures for people: images, label maps and confidences side by side on one sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hiast.classes import IGNORED, LabelSpace

Picture = NDArray[np.uint8]
"""RGB picture uint8 [H, W, 3]."""

WIDTH = 320
"""Width of a tile in pixels, unless another one is asked for."""
GAP, CAPTION, TITLE = 6, 18, 26
"""Space between tiles, and height of the line of a caption and of a title, in pixels."""
_TEXT, _TITLE_TEXT = 12, 14
_PAPER, _INK, _BLANK = (255, 255, 255), (40, 40, 40), 200
_FONTS = (
    "DejaVuSans.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc",
    "Arial.ttf", "Arial Unicode.ttf", "PingFang.ttc", "msyh.ttc",
)  # fmt: skip
"""Fonts that are looked for on the machine for names in other letters than ASCII."""


@dataclass(frozen=True)
class Tile:
    """A picture with a line of text above it.

    Attributes:
        picture: uint8 [H, W, 3] RGB.
        caption: Text, cut off if it is wider than the tile.
        smooth: Whether pixels may be blended when the size changes; not for label maps.
    """

    picture: Picture
    caption: str = ""
    smooth: bool = False


@dataclass(frozen=True)
class Row:
    """Tiles from left to right.

    Attributes:
        tiles: The tiles; they may differ in size.
        title: Text above the row; none if it is empty.
    """

    tiles: Sequence[Tile]
    title: str = ""


def heat(values: NDArray[np.float32], low: float = 0.0, high: float = 1.0) -> Picture:
    """Picture of a map float [H, W]: dark blue at ``low`` and below, yellow at ``high`` and above."""
    # What is not finite is shown as the lowest value.
    scaled = np.nan_to_num(np.clip((values.astype(np.float32) - low) / (high - low), 0, 1))
    colored = cv2.applyColorMap((scaled * 255).round().astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(colored[..., ::-1])


def where_kept(image: Picture, labels: NDArray[np.uint8]) -> Picture:
    """An image that is dark and gray where ``labels`` uint8 [H, W] is ignored."""
    gray = (image.mean(-1, keepdims=True) * 0.3).astype(np.uint8)
    return np.where((labels == IGNORED)[..., None], gray, image)


def overlay(image: Picture, labels: NDArray[np.uint8], colors: Picture) -> Picture:
    """An image with the colors of its labels laid over it; where labels are ignored, the image is gray.

    Args:
        image: uint8 [H, W, 3].
        labels: Classes uint8 [H, W], 255 = ignored.
        colors: Colors of the labels, uint8 [H, W, 3].
    """
    gray = np.repeat(image.mean(-1, keepdims=True), 3, -1) * 0.6
    mixed = np.where((labels == IGNORED)[..., None], gray, image * 0.4 + colors * 0.6)
    return mixed.astype(np.uint8)


def blank(height: int, width: int) -> Picture:
    """A gray picture in the place of one that cannot be shown."""
    return np.full((height, width, 3), _BLANK, np.uint8)


def fitted(height: int, width: int, tile_width: int = WIDTH) -> tuple[int, int]:
    """(height, width) of a picture on a sheet: as wide as a tile, but no higher than twice that."""
    scale = min(tile_width / width, 2 * tile_width / height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(picture: Picture, height: int, width: int, smooth: bool) -> Picture:
    """A picture at another size: blended if ``smooth``, by nearest neighbor otherwise."""
    if picture.shape[:2] == (height, width):
        return picture
    method = cv2.INTER_NEAREST
    if smooth:
        method = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)


def jpeg(picture: Picture, quality: int = 88) -> bytes:
    """A picture as a JPEG file; equal pictures give equal bytes."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()


def label_png(labels: NDArray[np.uint8], classes: LabelSpace) -> bytes:
    """A label map uint8 [H, W] as a small palette PNG in the colors of its classes; ignored pixels are black."""
    picture = Image.fromarray(np.ascontiguousarray(labels))
    picture.putpalette(classes.colorize(np.arange(256, dtype=np.uint8)).tobytes())
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return file.getvalue()


def sheet(rows: Sequence[Row], classes: LabelSpace | None = None, width: int = WIDTH) -> Picture:
    """Lay tiles out in rows, with a legend of the classes below.

    Args:
        rows: From top to bottom; they may differ in length.
        classes: Classes of the legend; None: no legend.
        width: Width of a tile in pixels; its height follows from the proportions of its picture.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    heights = [_row_height(row, width) for row in rows]
    columns = max((len(row.tiles) for row in rows), default=1)
    full_width = max(1, columns) * (width + GAP) + GAP
    legend = [] if classes is None else _legend(classes, full_width)
    full_height = sum(heights) + GAP + (legend[-1][1] + CAPTION if legend else 0)
    paper = Image.new("RGB", (full_width, full_height), _PAPER)
    draw = ImageDraw.Draw(paper)
    top = 0
    for row, height in zip(rows, heights, strict=True):
        _place_row(paper, draw, row, top, width)
        top += height
    for left, below, name, color in legend:
        box = (left, top + GAP + below, left + _TEXT, top + GAP + below + _TEXT)
        draw.rectangle(box, fill=color, outline=_INK)
        draw.text((left + _TEXT + 4, box[1]), name, _INK, font(name))
    return np.asarray(paper)


def font(text: str, size: int = _TEXT) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, or one of the machine that has more of the letters of a text."""
    own = ImageFont.load_default(size)
    if text.isascii() or not isinstance(own, ImageFont.FreeTypeFont):
        return own
    fonts = [found for name in _FONTS if (found := _installed(name, size)) is not None]
    return max([own, *fonts], key=lambda font: _letters(font, text))


@cache
def _installed(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _letters(font: ImageFont.FreeTypeFont, text: str) -> int:
    """How many letters of a text a font has: the others look like U+FFFF, which is no letter."""
    missing = bytes(font.getmask("\uffff"))
    return sum(bytes(font.getmask(letter)) != missing for letter in text)


def _heads(row: Row) -> tuple[int, int]:
    """Height of the lines of title and captions of a row."""
    return TITLE if row.title else 0, CAPTION if any(tile.caption for tile in row.tiles) else 0


def _row_height(row: Row, width: int) -> int:
    pictures = max((fitted(*_size(tile), width)[0] for tile in row.tiles), default=0)
    return sum(_heads(row)) + pictures + GAP


def _size(tile: Tile) -> tuple[int, int]:
    return tile.picture.shape[0], tile.picture.shape[1]


def _place_row(paper: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int, width: int) -> None:
    title, caption = _heads(row)
    draw.text((GAP, top + GAP), row.title, _INK, font(row.title, _TITLE_TEXT))
    for column, tile in enumerate(row.tiles):
        left = GAP + column * (width + GAP)
        text = _cut(draw, tile.caption, width)
        draw.text((left, top + title + 3), text, _INK, font(text))
        picture = resized(tile.picture, *fitted(*_size(tile), width), tile.smooth)
        paper.paste(Image.fromarray(picture), (left, top + title + caption))


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    while text and draw.textlength(text, font(text)) > width:
        text = text[:-1]
    return text


def _legend(classes: LabelSpace, width: int) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Left, top, name and color of each entry, in lines of at most ``width``."""
    entries = []
    left, top = GAP, 0
    for name, color in [*zip(classes.names, classes.colors, strict=True), ("ignored", (0, 0, 0))]:
        length = round(font(name).getlength(name)) + _TEXT + 4
        if left > GAP and left + length > width:
            left, top = GAP, top + CAPTION
        entries.append((left, top, name, color))
        left += length + 14
    return entries
