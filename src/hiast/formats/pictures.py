"""Label pictures: PNG to values or colors, checked by its checksums, and back."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hiast.classes import IGNORED, Color
from hiast.errors import InputError
from hiast.formats.items import Labels, Size

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PER_BLOCK = 1 << 22
"""Pixels that are looked up at a time."""
_LARGEST = (1 << 24) - 1
"""Largest value in a label picture."""


@dataclass(frozen=True)
class Picture:
    """A label picture as stored.

    Attributes:
        values: Gray values or palette indices [H, W] of 8 or 16 bits, or RGB colors uint8 [H, W, 3].
        palette: Colors uint8 [N, 3] of the indices, or None.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None = None

    def colors(self, where: object) -> NDArray[np.uint8] | None:
        """RGB colors uint8 [H, W, 3]; None for gray values.

        Raises:
            InputError: An index has no color.
        """
        if self.palette is None:
            return self.values if self.values.ndim == 3 else None
        if self.values.max() >= len(self.palette):
            raise InputError(
                f"{where} is damaged: a pixel has index {self.values.max()}, which has no color."
            )
        colors: NDArray[np.uint8] = self.palette[self.values]
        return colors


def read_png(content: bytes, where: object) -> Picture:
    """A label picture; an alpha channel is dropped.

    Raises:
        InputError: It is not a PNG, or is damaged; the message names ``where``.
    """
    _check(content, where)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return _picture(image)
    except (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be decoded ({error}); fetch or export it again.") from error


def _picture(image: Image.Image) -> Picture:
    if image.mode == "P":
        flat = image.getpalette("RGB") or []
        return Picture(np.array(image), np.array(flat, np.uint8).reshape(-1, 3))
    if image.mode in ("L", "1", "I;16", "I"):
        return Picture(np.array(image.convert("L") if image.mode == "1" else image))
    if image.mode == "LA":
        return Picture(np.array(image.getchannel("L")))
    return Picture(np.array(image.convert("RGB")))


def _check(content: bytes, where: object) -> None:
    """Compare the checksums of a PNG file, which decoders pass over."""
    if content[:8] != _SIGNATURE:
        raise InputError(f"{where} is not a PNG file.")
    place, kind = 8, b""
    while kind != b"IEND":
        length = int.from_bytes(content[place : place + 4], "big")
        kind, end = content[place + 4 : place + 8], place + 8 + length
        if end + 4 > len(content):
            raise InputError(f"{where} is cut off; fetch or export it again.")
        if zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise InputError(f"{where} is damaged (a checksum is wrong); fetch or export it again.")
        place = end + 4


def gray_png(values: NDArray[np.uint8]) -> bytes:
    """PNG file of gray values uint8 [H, W]."""
    return _encode(values)


def color_png(colors: NDArray[np.uint8]) -> bytes:
    """PNG file of RGB colors uint8 [H, W, 3]."""
    return _encode(np.ascontiguousarray(colors[..., ::-1]))


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    _, buffer = cv2.imencode(".png", pixels)
    return buffer.tobytes()


def paint(labels: Labels, colors: Sequence[Color]) -> NDArray[np.uint8]:
    """Color picture uint8 [H, W, 3] of a label map; ignored pixels are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    return table[labels]


def from_values(
    values: NDArray[Any],
    indices: Mapping[int, int],
    where: object,
    unknown: Mapping[int, str] = MappingProxyType({}),
) -> Labels:
    """Label map of the values of a picture.

    Args:
        values: Whole numbers [H, W].
        indices: Value -> class index, or 255 for ignored.
        where: The file, for the message.
        unknown: Value -> name of values that have one but no class, for the message.

    Raises:
        InputError: A value has no class.
    """
    high, low = int(values.max()), int(values.min())
    if low < 0 or high > _LARGEST:
        raise InputError(f"{where} holds the value {low if low < 0 else high}, which stands for no class.")
    table = np.full(high + 1, -1, np.int16)
    for value, index in indices.items():
        if 0 <= value <= high:
            table[value] = index
    found: NDArray[np.int16] = table[values]
    strange = values[found < 0]
    if strange.size:
        value = int(strange[0])
        raise InputError(_no_class(where, f"the value {value}", unknown.get(value)))
    return found.astype(np.uint8)


def from_colors(
    pixels: NDArray[np.uint8],
    indices: Mapping[Color, int],
    where: object,
    unknown: Mapping[Color, str] = MappingProxyType({}),
) -> Labels:
    """Label map of a color picture.

    Args:
        pixels: RGB uint8 [H, W, 3].
        indices: Color -> class index, or 255 for ignored.
        where: The file, for the message.
        unknown: Color -> name of colors that have one but no class, for the message.

    Raises:
        InputError: The picture holds a color that has no class.
    """
    table = np.full(1 << 24, -1, np.int16)
    for (red, green, blue), index in indices.items():
        table[red << 16 | green << 8 | blue] = index
    labels = np.empty(pixels.shape[:2], np.uint8)
    step = max(1, _PER_BLOCK // pixels.shape[1])
    for top in range(0, len(pixels), step):
        block = pixels[top : top + step].astype(np.int32)
        packed = block[..., 0] << 16 | block[..., 1] << 8 | block[..., 2]
        found = table[packed]
        strange = packed[found < 0]
        if strange.size:
            value = int(strange[0])
            color = value >> 16, value >> 8 & 255, value & 255
            raise InputError(_no_class(where, f"the color {','.join(map(str, color))}", unknown.get(color)))
        labels[top : top + step] = found
    return labels


def _no_class(where: object, what: str, name: str | None) -> str:
    if name is None:
        return (
            f"{where} holds {what}, which stands for no class: check the list of classes in the annotations."
        )
    return (
        f"{where} holds {what} of the class '{name}', which is none of your classes: "
        "add it to the classes or to the names that are ignored (ignored)."
    )


def check_size(labels: Labels, size: Size | None, where: object) -> Labels:
    """``labels``, if they have the expected size.

    Raises:
        InputError: They have another one.
    """
    if size is not None and labels.shape != tuple(size):
        raise InputError(
            f"{where} is {labels.shape[1]} x {labels.shape[0]} pixels, but its image is {size[1]} x {size[0]}: "
            "annotate the image at its own size."
        )
    return labels


def empty(size: Size) -> Labels:
    """A label map whose pixels are all ignored."""
    return np.full(size, IGNORED, np.uint8)
