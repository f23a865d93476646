"""The files of the cache: images as TIFF, raw or in compressed tiles, of which any window is read by itself.

tifffile writes and reads them, so that any viewer opens them. What it leaves open is added in the image description,
as JSON behind its own CRC-32: the hash of the image that it comes from, the CRC-32 of each compressed tile (Zstandard
frames as tifffile writes them hold none), and that of all tags that decide how pixels are read. Each is compared before
pixels are decoded.

Measured on three drawn scenes of 2048 x 1024 pixels, one thread, files in memory, against the file format of version
0.1 that this replaces (tiles of delta and Zstandard, or JPEG, in a container of its own): 2.65 MB per image for both, a
window of 1400 x 700 pixels in 10.1 ms against 10.0 ms, of 1024 x 512 in 7.0 ms against 6.8 ms; raw 1.0 ms against
0.8 ms, since reading the tags of a TIFF file takes 0.2 ms; JPEG 0.98 MB and 15 ms for both, with the same values.
``benchmarks/cache.py`` compares further codecs.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from hiast.data.geometry import Window
from hiast.data.io.tiff import quiet_tifffile
from hiast.errors import InputError

_DESCRIPTION = 270
_SLACK = 512
"""Bytes of the description that are left free, so that notes can be rewritten in place."""
_ERRORS = (
    tifffile.TiffFileError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    OSError,
    EOFError,
    ArithmeticError,
    struct.error,
)
"""What tifffile and the decoders raise on damaged files; caught around their calls only."""


@dataclass(frozen=True)
class Tiles:
    """Pixels as compressed tiles: smaller than raw, slower to read.

    Args:
        compression: "zstd" (nothing is lost) or "jpeg" (near-lossless).
        level: Compression level of Zstandard, quality of JPEG.
        height: Height of a tile in pixels, a multiple of 16.
        width: Width of a tile, a multiple of 16.
    """

    compression: str
    level: int
    height: int = 128
    width: int = 512

    def to_json(self) -> dict[str, Any]:
        """Plain values, as the description holds them."""
        return asdict(self)


ZSTD_TILES = Tiles("zstd", 1)
"""Lossless, about 40 % of raw on camera images, little more than the PNG that was downloaded."""

JPEG_TILES = Tiles("jpeg", 98)
"""Near-lossless, about 16 % of raw: values of drawn scenes differ by up to 11 of 255, by 0.6 to 1.2 on average."""


def encode_image(pixels: NDArray[np.uint8], tiles: Tiles | None, notes: Mapping[str, object]) -> bytes:
    """Content of a cached file.

    Args:
        pixels: uint8 [H, W, 3], RGB.
        tiles: How to compress; None: raw.
        notes: Further entries of the description, plain JSON values.
    """
    count = 0 if tiles is None else -(-pixels.shape[0] // tiles.height) * -(-pixels.shape[1] // tiles.width)
    entries = {
        **notes,
        "tiles": None if tiles is None else tiles.to_json(),
        "checksums": [0xFFFFFFFF] * count,
        "layout": 0xFFFFFFFF,
    }
    room = len(json.dumps(entries)) + _SLACK
    file = BytesIO()
    tifffile.imwrite(file, pixels, description=" " * room, metadata=None, **_layout(tiles))
    content = bytearray(file.getvalue())
    with tifffile.TiffFile(BytesIO(content)) as tiff:
        page = tiff.pages.first
        if tiles is not None:
            entries["checksums"] = [
                zlib.crc32(content[start : start + length])
                for start, length in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
        entries["layout"] = _layout_checksum(page)
        _write_description(content, page, entries)
    return bytes(content)


def replace_notes(path: Path, notes: Mapping[str, object]) -> bytes:
    """Content of an existing cached file with other notes; no pixel is decoded.

    Raises:
        InputError: It is not a cached file, or not a whole one.
    """
    with open_image(path) as image:
        content = bytearray(path.read_bytes())
        _write_description(content, image.page, {**image.notes, **notes})
    return bytes(content)


@contextmanager
def open_image(path: Path) -> Iterator[CachedImage]:
    """A cached file, open.

    Raises:
        InputError: It is not a cached file, or not a whole one.
        OSError: It cannot be opened.
    """
    quiet_tifffile()
    with path.open("rb") as file:
        try:
            tiff = tifffile.TiffFile(file)
            image = CachedImage(tiff.pages.first, _read_description(tiff.pages.first.description))
            image.check_complete()
        except _ERRORS as error:
            raise _damaged(path) from error
        yield image


@dataclass(frozen=True)
class CachedImage:
    """An open file of the cache.

    Attributes:
        page: Its TIFF page.
        notes: The entries of its description.
    """

    page: Any
    notes: Mapping[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.page.shape[0], self.page.shape[1]

    def read(self, window: Window | None = None) -> NDArray[np.uint8]:
        """The image, or a window of it: uint8 [h, w, 3], RGB; of raw pixels a read-only view of the file.

        Raises:
            InputError: A tile is damaged.
        """
        window = window or Window(0, 0, *self.size)
        file = self.page.parent.filehandle
        if self.notes["tiles"] is None:
            pixels = np.memmap(file.path, np.uint8, "r", self.page.dataoffsets[0], self.page.shape)
            return np.asarray(window.of(pixels))
        try:
            return self._read_tiles(window)
        except _ERRORS as error:
            raise _damaged(Path(file.path)) from error

    def check_complete(self) -> None:
        """Compare what the file declares with what was written.

        Raises:
            ValueError: It was changed or cut off.
            KeyError: The description is not that of a cached file.
        """
        end = self.page.dataoffsets[-1] + self.page.databytecounts[-1]
        whole = end <= self.page.parent.filehandle.size
        tiles = 0 if self.notes["tiles"] is None else len(self.page.dataoffsets)
        if (
            not whole
            or self.notes["layout"] != _layout_checksum(self.page)
            or tiles != len(self.notes["checksums"])
        ):
            raise ValueError("it was changed or cut off")

    def _read_tiles(self, window: Window) -> NDArray[np.uint8]:
        page, file = self.page, self.page.parent.filehandle
        height, width = page.tilelength, page.tilewidth
        across = -(-page.shape[1] // width)
        pixels = np.empty((window.height, window.width, 3), np.uint8)
        for row in range(window.top // height, -(-(window.top + window.height) // height)):
            for column in range(window.left // width, -(-(window.left + window.width) // width)):
                number = row * across + column
                file.seek(page.dataoffsets[number])
                content = file.read(page.databytecounts[number])
                if zlib.crc32(content) != self.notes["checksums"][number]:
                    raise ValueError(f"the checksum of tile {number} is wrong")
                tile = page.decode(content, number)[0][0]
                _place(pixels, tile, row * height - window.top, column * width - window.left)
        return pixels


def _layout_checksum(page: Any) -> int:
    """CRC-32 of all that decides how the pixels are read."""
    tags = (
        page.shape,
        str(page.dtype),
        page.tilelength,
        page.tilewidth,
        page.dataoffsets,
        page.databytecounts,
    )
    codes = (page.compression, page.predictor, page.photometric, page.planarconfig, page.bitspersample)
    return zlib.crc32(repr((tags, tuple(map(int, codes)))).encode())


def _layout(tiles: Tiles | None) -> dict[str, Any]:
    """Arguments of ``tifffile.imwrite``."""
    if tiles is None:
        return {"photometric": "rgb"}
    shape = {"tile": (tiles.height, tiles.width), "compression": tiles.compression}
    how = {"subsampling": (1, 1)} if tiles.compression == "jpeg" else {"predictor": True}
    return {**shape, **how, "photometric": "rgb", "compressionargs": {"level": tiles.level}}


def _write_description(content: bytearray, page: Any, entries: Mapping[str, object]) -> None:
    tag = page.tags[_DESCRIPTION]
    notes = json.dumps(entries).encode("ascii")
    text = b"%08x %s" % (zlib.crc32(notes), notes)
    if len(text) > tag.count - 1:
        raise ValueError(
            f"The notes of a cached image take {len(text)} bytes, and there are {tag.count - 1}."
        )
    content[tag.valueoffset : tag.valueoffset + tag.count - 1] = text.ljust(tag.count - 1)


def _read_description(description: str) -> dict[str, Any]:
    checksum, _, notes = description.rstrip(" ").partition(" ")
    if int(checksum, 16) != zlib.crc32(notes.encode("ascii")):
        raise ValueError("the checksum of its description is wrong")
    entries: dict[str, Any] = json.loads(notes)
    return entries


def _place(pixels: NDArray[np.uint8], tile: NDArray[np.uint8], top: int, left: int) -> None:
    """Copy the part of a tile, whose corner lies at (top, left), that falls into ``pixels``."""
    above, before = max(0, -top), max(0, -left)
    part = tile[above : pixels.shape[0] - top, before : pixels.shape[1] - left]
    pixels[top + above : top + above + part.shape[0], left + before : left + before + part.shape[1]] = part


def _damaged(path: Path) -> InputError:
    return InputError(f"{path} of the cache is damaged: remove it and run hiast-data-prepare.")
