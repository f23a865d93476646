"""Pixels of PNG, JPEG and of the formats that Pillow decodes, with the checks that the libraries leave out.

PNG is decoded by libpng and JPEG by libjpeg-turbo, both in imagecodecs, which are faster than Pillow. libpng refuses
every PNG with a wrong checksum or too few pixels; Pillow accepts palette images with too few, and libspng stops reading
before the last checksum. A JPEG has no checksum; its end marker is asked for, without which libjpeg fills the rest with
gray.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, PngImagePlugin
from tifffile import TiffFileError

DECODER_ERRORS = (
    SyntaxError,  # Pillow's parsers
    RuntimeError,  # imagecodecs
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
    TiffFileError,
)
"""What the libraries raise on damaged files; caught around their calls only."""

_PIXELS_PER_BYTE = 512  # A block of 8 x 8 pixels of a JPEG takes at least one bit.
_TEXT_LINES = 4  # If so many line feeds all follow a carriage return, a transfer has added these.


class Decoded(NamedTuple):
    """Pixels as stored.

    Attributes:
        pixels: [H, W] or [H, W, C].
        alpha: Whether the last channel is an alpha channel.
        bits: Significant bits of a value.
    """

    pixels: NDArray[Any]
    alpha: bool
    bits: int


def decode_png(data: bytes, *, indices: bool) -> Decoded:
    """Pixels of a PNG.

    Args:
        data: The file.
        indices: Give palette indices, and gray values of less than 8 bits as stored.

    Raises:
        SyntaxError: The structure or a checksum is wrong.
        RuntimeError: The pixels cannot be decoded.
    """
    plain, color, depth = _plain_png(data, indices)
    pixels: NDArray[Any] = imagecodecs.png_decode(plain)
    if indices and depth < 8:
        # libpng spreads 1, 2 and 4 bits over 0 to 255.
        pixels = pixels // np.uint8(255 // (2**depth - 1))
    return Decoded(pixels, color in (4, 6), max(8, depth))


def _plain_png(data: bytes, indices: bool) -> tuple[bytes, int, int]:
    """The PNG reduced to size, palette and pixels, its color type and its bit depth.

    Color profiles, gamma and transparency would change values or make libpng print warnings. A palette image becomes
    a gray one for ``indices``. What is rebuilt is compared with its checksums before; what stays, libpng compares.
    """
    names = {name for name, _ in _png_chunks(data, check=False)}
    depth, color = data[24], data[25]
    kept = {b"IHDR", b"IDAT", b"IEND"} | ({b"PLTE"} if color == 3 and not indices else set())
    if names <= kept:
        return data, color, depth
    plain = BytesIO()
    plain.write(data[:8])
    for name, content in _png_chunks(data, check=True):
        if name == b"IHDR" and indices and color == 3:
            content = content[:9] + b"\0" + content[10:]
        if name in kept:
            PngImagePlugin.putchunk(plain, name, content)
    return plain.getvalue(), color, depth


def _png_chunks(data: bytes, *, check: bool) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk by Pillow's parser; without ``check`` contents and checksums are not looked at."""
    source = BytesIO(data)
    source.seek(8)
    stream = PngImagePlugin.ChunkStream(source)
    name = b""
    while name != b"IEND":
        name, _, length = stream.read()
        content = b""
        if check:
            content = source.read(length)
            stream.crc(name, content)
        else:
            source.seek(length + 4, os.SEEK_CUR)
        yield name, content


def decode_jpeg(data: bytes, image: ImageFile.ImageFile, scan: int) -> Decoded:
    """Pixels of a JPEG.

    Args:
        data: The file.
        image: The file as Pillow has opened it.
        scan: Position of the first scan, up to which Pillow has read.

    Raises:
        ValueError: The file is cut off, was changed by a transfer in text mode, or declares too many pixels.
        RuntimeError: The pixels cannot be decoded.
    """
    # Inside of a scan FF D9 can only be the end marker.
    if data.find(b"\xff\xd9", scan) < 0:
        raise ValueError("it has no end marker")
    width, height = image.size
    if height * width > _PIXELS_PER_BYTE * len(data):
        raise ValueError(f"it declares {width} x {height} pixels, more than its bytes can hold")
    if _TEXT_LINES <= data.count(b"\n") == data.count(b"\r\n"):
        raise ValueError("a transfer in text mode has changed its line ends")
    if image.mode in ("L", "RGB"):
        return Decoded(imagecodecs.jpeg8_decode(data), False, 8)
    return Decoded(np.asarray(image.convert("RGB")), False, 8)


def decode_by_pillow(image: ImageFile.ImageFile, *, indices: bool) -> Decoded:
    """Pixels of an image that Pillow has opened; of an animation the first image.

    Args:
        image: The open image.
        indices: As for ``decode_png``.

    Raises:
        OSError: The file is cut off or damaged; also other errors of ``DECODER_ERRORS``.
    """
    if indices and image.format == "PPM":
        image.tile = [_unscaled(tile, 65535 if image.mode == "I" else 255) for tile in image.tile]
    image.load()
    if image.mode == "1":
        gray: NDArray[Any] = np.asarray(image).astype(np.uint8)
        return Decoded(gray if indices else gray * np.uint8(255), False, 8)
    if image.mode == "P" and indices:
        return Decoded(_indices(image), False, 8)
    keep = image.mode in ("L", "LA", "RGB", "RGBA", "I", "F") or image.mode.startswith("I;16")
    pixels = np.asarray(image if keep else image.convert("RGB"))
    if image.mode == "I" and pixels.min() >= 0 and pixels.max() < 65536:
        pixels = pixels.astype(np.uint16)  # Pillow reads the 16 bits of a PGM as 32.
    return Decoded(pixels, image.mode in ("LA", "RGBA"), 8 * pixels.dtype.itemsize)


def _unscaled(tile: Any, largest: int) -> Any:
    """What Pillow is to decode of a PNM file, without spreading its values over all that fit."""
    named = isinstance(tile.args, tuple) and len(tile.args) == 2  # (mode, largest value of the header)
    return tile._replace(args=(tile.args[0], largest)) if named else tile


def _indices(image: Image.Image) -> NDArray[Any]:
    """Palette indices; gray values where the whole palette is gray, for writers of GIF and BMP renumber gray values."""
    found: NDArray[Any] = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = palette[np.minimum(np.unique(found), len(palette) - 1)]
    if (palette == palette[:, :1]).all() and len(np.unique(used[:, 0])) == len(used):
        gray: NDArray[Any] = palette[np.minimum(found, len(palette) - 1), 0]
        return gray
    return found
