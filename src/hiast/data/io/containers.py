"""What a PNG or JPEG file claims to be, checked byte by byte before any pixel is decoded.

Decoders differ in what they do with a broken file: some return the part they could read. Here a file is
whole or refused. A PNG carries checksums, so that every damage is found. A JPEG carries none: a cut is found,
changed bytes inside the compressed pixels may not be.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hiast.errors import InputError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Color types of a PNG (PNG specification, 11.2.1)."""

_PNG_DEPTHS = {
    GRAY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GRAY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
_PNG_CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_DEFLATE_LIMIT = 1032  # No deflate stream expands further than this.
_JPEG_PIXELS_PER_BYTE = 512  # A block of 8x8 pixels takes at least one bit.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Attributes:
        kind: "png" or "jpeg".
        width: Columns as stored, in pixels.
        height: Rows as stored.
        depth: Bits per channel.
        color: PNG color type; number of channels of a JPEG.
        orientation: EXIF orientation, 1 (as stored) to 8.
    """

    kind: Literal["png", "jpeg"]
    width: int
    height: int
    depth: int
    color: int
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture as it is shown, that is after the EXIF orientation."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


def exif_orientation(exif: bytes) -> int:
    """Orientation 1..8 of an EXIF block (TIFF structure); 1 where there is none or it makes no sense."""
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(start: int, length: int) -> int:
        return int.from_bytes(exif[start : start + length], order)

    if exif[:2] not in (b"II", b"MM") or number(2, 2) != 42:
        return 1
    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(entry, 2) == 0x0112:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def _png_chunks(data: bytes, path: Path, *, pixels: bool = True) -> Iterator[tuple[bytes, int, int]]:
    """(type, start, end) of the content of each chunk, to the end of the file or, without ``pixels``, up to these."""
    position = len(PNG_SIGNATURE)
    while True:
        start = position + 8
        kind = data[position + 4 : start]
        if kind == b"IDAT" and not pixels:
            return
        end = start + int.from_bytes(data[position : position + 4], "big")
        if len(data) < end + 4:
            raise InputError(
                f"{path} is cut off: a PNG of {len(data)} bytes that should go on; fetch it again."
            )
        yield kind, start, end
        if kind == b"IEND":
            return
        position = end + 4


def png_header(data: bytes, path: Path) -> Header:
    """Header of a PNG; ``data`` need not hold more than what lies before the pixels.

    Raises:
        InputError: It is cut off or makes no sense.
    """
    header = None
    orientation = 1
    for kind, start, end in _png_chunks(data, path, pixels=False):
        if header is None:
            header = _image_header(kind, data[start:end], data[end : end + 4], path)
        elif kind == b"eXIf":
            orientation = exif_orientation(data[start:end])
    if header is None:
        raise InputError(f"{path} is damaged: a PNG has to start with an image header; fetch it again.")
    return Header("png", *header, orientation)


def _image_header(kind: bytes, content: bytes, checksum: bytes, path: Path) -> tuple[int, int, int, int]:
    if kind != b"IHDR" or len(content) != 13:
        raise InputError(f"{path} is damaged: a PNG has to start with an image header; fetch it again.")
    if zlib.crc32(kind + content) != int.from_bytes(checksum, "big"):
        raise InputError(f"{path} is damaged: the checksum of its image header is wrong; fetch it again.")
    width, height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
    depth, color, compression, filtering, interlace = content[8:]
    if depth not in _PNG_DEPTHS.get(color, ()) or compression or filtering or interlace > 1:
        raise InputError(f"{path} is damaged: its image header describes no valid PNG; fetch it again.")
    if not (0 < width < 2**31 and 0 < height < 2**31):
        raise InputError(f"{path} declares a size of {width} x {height} pixels; replace or remove it.")
    return width, height, depth, color


def plain_png(data: bytes, path: Path, header: Header, *, indices: bool) -> bytes:
    """The same picture with nothing but size, palette and pixels, after checking every byte of it.

    Decoders and their versions differ in how they take color profiles, gamma, transparency, orientation and
    animation; without them there is one meaning.

    Args:
        data: The whole file.
        path: For messages.
        header: As ``png_header`` gives it.
        indices: Turn a palette picture into a gray one whose values are the palette indices.

    Raises:
        InputError: The file is cut off, a checksum is wrong, or it declares more pixels than it can hold.
    """
    parts = [PNG_SIGNATURE]
    compressed = 0
    changed = False
    for kind, start, end in _png_chunks(data, path):
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            name = kind.decode("latin-1")
            raise InputError(
                f"{path} is damaged: the checksum of its part '{name}' is wrong; fetch it again."
            )
        if kind == b"IHDR" and indices and header.color == PALETTE:
            gray = b"IHDR" + data[start : start + 9] + bytes([GRAY]) + data[start + 10 : end]
            parts += [data[start - 8 : start - 4], gray, zlib.crc32(gray).to_bytes(4, "big")]
            changed = True
        elif kind in (b"IHDR", b"IDAT", b"IEND") or (
            kind == b"PLTE" and header.color == PALETTE and not indices
        ):
            parts.append(data[start - 8 : end + 4])
        else:
            changed = True
        compressed += (end - start) if kind == b"IDAT" else 0
    row = 1 + (header.width * header.depth * _PNG_CHANNELS[header.color] + 7) // 8
    if row * header.height > compressed * _DEFLATE_LIMIT:
        raise InputError(
            f"{path} declares {header.width} x {header.height} pixels, more than its {len(data)} bytes "
            "can hold; fetch it again."
        )
    return b"".join(parts) if changed else data


def jpeg_header(data: bytes, path: Path, *, whole: bool) -> Header:
    """Header of a JPEG.

    Args:
        data: The file, or its beginning.
        path: For messages.
        whole: Go on to the end-of-image marker, so that a file that was cut off is found.

    Raises:
        InputError: It is cut off, makes no sense, or declares more pixels than it can hold.
    """
    header: Header | None = None
    orientation, position, scanned = 1, 2, 0
    while True:
        marker, start, end = _jpeg_segment(data, position, path)
        if marker == 0xD9:
            break
        position = end
        if marker == 0xE1 and data[start : start + 6] == b"Exif\x00\x00":
            orientation = exif_orientation(data[start + 6 : end])
        elif marker in _JPEG_FRAMES:
            header = _frame_header(data[start:end], path)
        elif marker == 0xDA:
            if not whole:
                break
            following = _AFTER_SCAN.search(data, end)
            position = following.start() if following else len(data)
            scanned += position - end
    if header is None or (whole and not scanned):
        raise InputError(f"{path} is damaged: a JPEG without pixels; fetch it again.")
    if whole and header.width * header.height > (scanned + 64) * _JPEG_PIXELS_PER_BYTE:
        raise InputError(
            f"{path} declares {header.width} x {header.height} pixels, more than its {len(data)} bytes "
            "can hold; fetch it again."
        )
    return Header("jpeg", header.width, header.height, header.depth, header.color, orientation)


def _jpeg_segment(data: bytes, position: int, path: Path) -> tuple[int, int, int]:
    """(marker, start, end) of the content of the segment at ``position``."""
    while data[position : position + 2] == b"\xff\xff":
        position += 1
    if position + 2 > len(data):
        raise InputError(f"{path} is cut off: a JPEG of {len(data)} bytes without its end; fetch it again.")
    if data[position] != 0xFF:
        raise InputError(f"{path} is damaged: no JPEG marker at byte {position}; fetch it again.")
    marker = data[position + 1]
    start = position + 2
    if marker == 0xD9 or marker in _JPEG_ALONE:
        return marker, start, start
    end = start + int.from_bytes(data[start : start + 2], "big")
    if end < start + 2:
        raise InputError(f"{path} is damaged: a part without length at byte {position}; fetch it again.")
    if end > len(data):
        raise InputError(f"{path} is cut off: a JPEG of {len(data)} bytes without its end; fetch it again.")
    return marker, start + 2, end


def _frame_header(content: bytes, path: Path) -> Header:
    if len(content) < 6 or content[5] not in (1, 3, 4) or len(content) != 6 + 3 * content[5]:
        raise InputError(f"{path} is damaged: its frame header describes no valid JPEG; fetch it again.")
    height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
    if not (width and height):
        raise InputError(f"{path} declares a size of {width} x {height} pixels; replace or remove it.")
    return Header("jpeg", width, height, content[0], content[5])
