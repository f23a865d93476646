"""The file format of the cache: a JSON header, then the pixels, raw or as compressed tiles.

A window is read without touching the rest: raw pixels are mapped into memory, of tiles only those that the window
meets are decoded.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from hiast.data.geometry import Window
from hiast.errors import InputError

_MAGIC = b"hiast-picture-1\n"
_ALIGNMENT = 4096


@dataclass(frozen=True)
class Tiles:
    """Pixels as compressed tiles: smaller than raw, slower to read.

    Args:
        extension: ".zst" (nothing is lost) or ".jpg" (near-lossless).
        parameters: Level of Zstandard, or OpenCV's write parameters.
        height: Height of a tile in pixels.
        width: Width of a tile.
    """

    extension: str
    parameters: tuple[int, ...]
    height: int = 128
    width: int = 512

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a header holds them."""
        return {**asdict(self), "parameters": list(self.parameters)}


ZSTD_TILES = Tiles(".zst", (1,))
"""Lossless, about 40 % of raw on camera images, little more than the PNG that was downloaded."""

JPEG_TILES = Tiles(
    ".jpg",
    (
        *(cv2.IMWRITE_JPEG_QUALITY, 98),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ),
)
"""Near-lossless, about 16 % of raw: values of drawn scenes differ by up to 11 of 255, by 0.6 to 1.2 in the mean."""


def pack(pixels: NDArray[np.uint8], tiles: Tiles | None, notes: Mapping[str, object]) -> bytes:
    """Content of a picture file.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        tiles: How to compress; None: raw.
        notes: More entries of the header, plain JSON values.
    """
    parts = [pixels.tobytes()] if tiles is None else _encode(pixels, tiles)
    header = {
        **notes,
        "shape": pixels.shape,
        "tiles": None if tiles is None else tiles.to_json(),
        "lengths": [len(part) for part in parts],
    }
    return _joined(header, parts)


def with_notes(path: Path, notes: Mapping[str, object]) -> bytes:
    """Content of an existing picture file with other notes.

    Raises:
        InputError: It is no picture file, or not a whole one.
    """
    with path.open("rb") as file:
        header = read_header(file)
        return _joined({**header, **notes}, [file.read()])


def _joined(header: Mapping[str, object], parts: Sequence[bytes]) -> bytes:
    content = json.dumps(header).encode()
    start = len(_MAGIC) + 8 + len(content)
    # Pixels start at a page, as mapping into memory asks for.
    padding = b"\0" * (-start % _ALIGNMENT)
    return b"".join([_MAGIC, len(content).to_bytes(8, "little"), content, padding, *parts])


def read_header(file: BinaryIO) -> dict[str, Any]:
    """The header of a picture file; the file then stands at its first pixel or tile.

    Raises:
        InputError: It is no picture file, or not a whole one.
    """
    head = file.read(len(_MAGIC) + 8)
    length = int.from_bytes(head[len(_MAGIC) :], "little")
    size = os.fstat(file.fileno()).st_size
    if not head.startswith(_MAGIC) or length > size:
        raise _damaged(file)
    try:
        header: dict[str, Any] = json.loads(file.read(length))
        file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
        whole = file.tell() + sum(header["lengths"]) == size
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file) from error
    if not whole:
        raise _damaged(file)
    return header


def read_pixels(file: BinaryIO, header: Mapping[str, Any], window: Window | None = None) -> NDArray[np.uint8]:
    """Pixels of a picture file that ``read_header`` has left at its first pixel or tile.

    Args:
        file: The open file.
        header: Its header.
        window: Part to read; None: all.

    Returns:
        uint8 [h, w, 3], RGB; of raw pixels a read-only view of the file, read as it is used.

    Raises:
        InputError: A tile is damaged.
    """
    window = window or Window(0, 0, *header["shape"][:2])
    if header["tiles"] is None:
        return np.asarray(window.of(np.memmap(file, np.uint8, "r", file.tell(), tuple(header["shape"]))))
    return _decode(file, header, window)


def _damaged(file: BinaryIO) -> InputError:
    return InputError(f"{file.name} of the cache is damaged: remove it and run hiast-data-prepare.")


def encode_tile(tile: NDArray[np.uint8], tiles: Tiles) -> bytes:
    """A tile uint8 [h, w, 3], RGB, compressed."""
    if tiles.extension == ".zst":
        # Differences to the left neighbor, as PNG takes them, are small numbers; the checksum finds damage.
        differences = imagecodecs.delta_encode(np.ascontiguousarray(tile), axis=1)
        content = bytes(imagecodecs.zstd_encode(differences.tobytes(), *tiles.parameters))
        return zlib.crc32(content).to_bytes(4, "little") + content
    stored = cv2.cvtColor(tile, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(tiles.extension, stored, tiles.parameters)[1])


def decode_tile(content: bytes, extension: str, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A tile of this shape from ``encode_tile``.

    Raises:
        ValueError: It is damaged.
        imagecodecs.ZstdError: It is damaged or of another shape.
    """
    if extension == ".zst":
        if zlib.crc32(content[4:]).to_bytes(4, "little") != content[:4]:
            raise ValueError("wrong checksum")
        values = np.frombuffer(imagecodecs.zstd_decode(content[4:], out=math.prod(shape)), np.uint8)
        return imagecodecs.delta_decode(values.reshape(shape), axis=1)
    tile: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if tile is None or tile.shape != shape:
        raise ValueError("no picture of this size")
    rgb: NDArray[np.uint8] = cv2.cvtColor(tile, cv2.COLOR_BGR2RGB)
    return rgb


def _encode(pixels: NDArray[np.uint8], tiles: Tiles) -> list[bytes]:
    """The tiles, row by row."""
    height, width = pixels.shape[:2]
    return [
        encode_tile(pixels[top : top + tiles.height, left : left + tiles.width], tiles)
        for top in range(0, height, tiles.height)
        for left in range(0, width, tiles.width)
    ]


def _decode(file: BinaryIO, header: Mapping[str, Any], window: Window) -> NDArray[np.uint8]:
    tile_height, tile_width = header["tiles"]["height"], header["tiles"]["width"]
    height, width = header["shape"][:2]
    across = -(-width // tile_width)
    starts = file.tell() + np.cumsum([0, *header["lengths"]])
    pixels = np.empty((window.height, window.width, 3), np.uint8)
    for row in range(window.top // tile_height, -(-(window.top + window.height) // tile_height)):
        for column in range(window.left // tile_width, -(-(window.left + window.width) // tile_width)):
            number, top, left = row * across + column, row * tile_height, column * tile_width
            shape = min(tile_height, height - top), min(tile_width, width - left), 3
            file.seek(int(starts[number]))
            content = file.read(header["lengths"][number])
            try:
                tile = decode_tile(content, header["tiles"]["extension"], shape)
            except (ValueError, imagecodecs.ZstdError) as error:
                raise _damaged(file) from error
            _place(pixels, tile, top - window.top, left - window.left)
    return pixels


def _place(pixels: NDArray[np.uint8], tile: NDArray[np.uint8], top: int, left: int) -> None:
    """Copy the part of a tile, whose corner lies at (top, left), that falls into ``pixels``."""
    above, before = max(0, -top), max(0, -left)
    part = tile[above : pixels.shape[0] - top, before : pixels.shape[1] - left]
    pixels[top + above : top + above + part.shape[0], left + before : left + before + part.shape[1]] = part
