"""Image files to arrays as stored: the one place where pixels are decoded, for images and for labels.

Pillow reads headers, palettes and EXIF; pixels of PNG and JPEG are decoded by imagecodecs (libpng and libjpeg-turbo),
TIFF by tifffile, everything else by Pillow. A file is decoded whole or refused. Where the libraries are too lenient
this module checks more: libpng decodes palette images as gray ones, so that too few pixels are an error there as well,
and a JPEG needs its end marker, without which libjpeg fills the rest with gray.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    WebPImagePlugin,
)

from hiast.data.io import tiff
from hiast.data.io.sniff import (
    HEAD,
    MAX_PIXELS,
    check_pixels,
    image_format,
    not_an_image,
    open_file,
    read_rest,
)
from hiast.errors import InputError

Pixels = NDArray[Any]

LOSSY = frozenset({"JPEG", "WebP", "JPEG 2000", "AVIF", "HEIC"})
"""Formats whose compression may change values, so that they cannot hold ids."""

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
    tiff.TiffFileError,
)
"""What the decoders raise on damaged files; caught around their calls only."""

_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImagePlugin.PngImageFile,
    "JPEG": JpegImagePlugin.JpegImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "JPEG 2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PNM": PpmImagePlugin.PpmImageFile,
}
_EXTRAS = {"AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"), "HEIC": ("pillow_heif", "HeifImageFile")}
_ORIENTATION = 0x0112
_BYTES_PER_PIXEL, _TIFF_BYTES_PER_PIXEL = 8, 32  # TIFF files hold many bands.
_JPEG_PIXELS_PER_BYTE = 512  # A block of 8 x 8 pixels takes at least one bit.
_PADDING = bytes(1024)


@dataclass(frozen=True)
class Header:
    """What a file declares.

    Attributes:
        format: See ``sniff.image_format``.
        height: Rows as stored.
        width: Columns as stored.
        orientation: EXIF orientation, 1 (as stored) to 8.
        lossy: Whether the compression may have changed values.
    """

    format: str
    height: int
    width: int
    orientation: int
    lossy: bool

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image as viewers show it, that is after the EXIF orientation."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


@dataclass(frozen=True)
class Raster:
    """A decoded file.

    Attributes:
        header: What the file declares.
        pixels: [H, W] or [H, W, C] as stored, before the EXIF orientation. Gray, or channels in the order red,
            green, blue, or the bands of the file.
        alpha: Whether the last channel is an alpha channel.
        bits: Significant bits of a value: less than its type holds in a TIFF of, say, 12 bits.
    """

    header: Header
    pixels: Pixels
    alpha: bool
    bits: int


def read_header(path: Path, max_pixels: int = MAX_PIXELS) -> Header:
    """Header of an image file; no pixel is decoded.

    Raises:
        InputError: The file is missing, unreadable, of no known format, larger than ``max_pixels``, or its header is
            damaged.
    """
    with open_file(path) as file:
        kind = _format(path, file.read(HEAD))
        file.seek(0)
        if kind == "TIFF":
            return _tiff_header(path, path, max_pixels)
        return _header(path, kind, _open(path, kind, file), max_pixels)


@dataclass(frozen=True)
class EncodedRaster:
    """A file in memory, of which the header is known and pixels can be decoded.

    Attributes:
        path: The file, for messages.
        header: What it declares.
        data: Its content.
        max_pixels: Limit of the image.
    """

    path: Path
    header: Header
    data: bytes
    max_pixels: int

    def decode(self, *, indices: bool = False) -> Raster:
        """Decode the pixels.

        Args:
            indices: Give the indices of a palette image instead of its colors, and the values of gray images of less
                than 8 bits as stored instead of spread over 0 to 255.

        Raises:
            InputError: The file is cut off or damaged.
        """
        kind = self.header.format
        try:
            if kind == "PNG":
                return _png(self.header, self.data, indices)
            if kind == "TIFF":
                with tiff.open_tiff(BytesIO(self.data)) as page:
                    pixels = page.read(indices=indices, max_bytes=_TIFF_BYTES_PER_PIXEL * self.max_pixels)
                    return Raster(self.header, pixels, page.alpha, page.bits)
            stream = BytesIO(self.data)
            image = _open(self.path, kind, stream)
            if kind == "JPEG":
                return _jpeg(self.header, self.data, stream, image)
            if kind in ("WebP", "AVIF", "HEIC") and self.data.endswith(_PADDING):
                raise ValueError("it ends in zeros, as an interrupted download does")
            return _other(self.header, image, indices)
        except InputError:
            raise
        except DECODER_ERRORS as error:
            raise damaged(self.path, kind, error) from error


def open_raster(path: Path, max_pixels: int = MAX_PIXELS) -> EncodedRaster:
    """Read an image file into memory, opening it once.

    Args:
        path: File.
        max_pixels: Larger images are refused before memory is allocated for them.

    Raises:
        InputError: As ``read_header``.
    """
    with open_file(path) as file:
        head = file.read(HEAD)
        kind = _format(path, head)
        per_pixel = _TIFF_BYTES_PER_PIXEL if kind == "TIFF" else _BYTES_PER_PIXEL
        data = head + read_rest(path, file, per_pixel * max_pixels)
    if kind == "TIFF":
        header = _tiff_header(path, BytesIO(data), max_pixels)
    else:
        header = _header(path, kind, _open(path, kind, BytesIO(data)), max_pixels)
    return EncodedRaster(path, header, data, max_pixels)


def read_raster(path: Path, max_pixels: int = MAX_PIXELS, *, indices: bool = False) -> Raster:
    """Decode an image file, see ``open_raster`` and ``EncodedRaster.decode``."""
    return open_raster(path, max_pixels).decode(indices=indices)


def damaged(path: Path, kind: str, error: BaseException) -> InputError:
    """The error for a file that a decoder refuses."""
    reason = str(error).strip(" .:") or type(error).__name__
    return InputError(
        f"{path} is damaged or cut off: it cannot be decoded as {kind} ({reason}); fetch it again."
    )


def _format(path: Path, head: bytes) -> str:
    kind = image_format(head)
    if kind is None:
        raise not_an_image(path, head)
    return kind


def _open(path: Path, kind: str, stream: BinaryIO) -> ImageFile.ImageFile:
    plugin = _PLUGINS[kind] if kind in _PLUGINS else _extra(path, kind)
    try:
        return plugin(stream)
    except DECODER_ERRORS as error:
        raise damaged(path, kind, error) from error


def _extra(path: Path, kind: str) -> type[ImageFile.ImageFile]:
    module, name = _EXTRAS[kind]
    try:
        plugin: type[ImageFile.ImageFile] = getattr(import_module(module), name)
    except ImportError as error:
        raise InputError(
            f"{path} is {kind}, which needs an extra: pip install 'hiast[heif]', or convert the file to JPEG or PNG."
        ) from error
    return plugin


def _header(path: Path, kind: str, image: ImageFile.ImageFile, max_pixels: int) -> Header:
    width, height = image.size
    check_pixels(path, height, width, max_pixels)
    return Header(kind, height, width, _orientation(image), kind in LOSSY)


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation; 1 where there is none or the EXIF data make no sense."""
    # getexif() of a PNG would decode the pixels to look for EXIF data behind them, where viewers ignore them.
    if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _png(header: Header, data: bytes, indices: bool) -> Raster:
    plain, color, depth = _plain_png(data, indices)
    pixels: Pixels = imagecodecs.png_decode(plain)
    if pixels.shape[:2] != (header.height, header.width):
        raise ValueError(f"its pixels are of size {pixels.shape[1]} x {pixels.shape[0]}")
    if indices and depth < 8:
        # libpng spreads 1, 2 and 4 bits over 0 to 255.
        pixels = pixels // np.uint8(255 // (2**depth - 1))
    return Raster(header, pixels, color in (4, 6), max(8, depth))


def _plain_png(data: bytes, indices: bool) -> tuple[bytes, int, int]:
    """The PNG without all that does not decide about pixels, its color type and its bit depth.

    Color profiles, gamma and transparency would change values or make libpng print warnings. A palette image becomes
    a gray one for ``indices``. Pillow's parser checks the checksum of every chunk.
    """
    source, plain = BytesIO(data), BytesIO()
    plain.write(source.read(8))
    stream = PngImagePlugin.ChunkStream(source)
    color = depth = 0
    name = b""
    while name != b"IEND":
        name, _, length = stream.read()
        content = source.read(length)
        stream.crc(name, content)
        if name == b"IHDR":
            depth, color = content[8], content[9]
            if indices and color == 3:
                content = content[:9] + b"\0" + content[10:]
        if name in (b"IHDR", b"IDAT", b"IEND") or (name == b"PLTE" and color == 3 and not indices):
            PngImagePlugin.putchunk(plain, name, content)
    return plain.getvalue(), color, depth


def _jpeg(header: Header, data: bytes, stream: BytesIO, image: ImageFile.ImageFile) -> Raster:
    # Pillow has read up to the first scan. Inside of a scan FF D9 can only be the end marker.
    if data.find(b"\xff\xd9", stream.tell()) < 0:
        raise ValueError("it has no end marker")
    if header.height * header.width > _JPEG_PIXELS_PER_BYTE * len(data):
        raise ValueError(f"it declares {header.width} x {header.height} pixels, more than its bytes can hold")
    if data.count(b"\n") >= 4 and data.count(b"\n") == data.count(b"\r\n"):
        raise ValueError("a transfer in text mode has changed its line ends")
    if image.mode in ("L", "RGB"):
        pixels: Pixels = imagecodecs.jpeg8_decode(data)
    else:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape[:2] != (header.height, header.width):
        raise ValueError(f"its pixels are of size {pixels.shape[1]} x {pixels.shape[0]}")
    return Raster(header, pixels, False, 8)


def _other(header: Header, image: ImageFile.ImageFile, indices: bool) -> Raster:
    image.load()
    if image.mode == "1":
        gray: Pixels = np.asarray(image).astype(np.uint8)
        return Raster(header, gray if indices else gray * np.uint8(255), False, 8)
    if image.mode == "P" and indices:
        return Raster(header, _indices(image), False, 8)
    keep = image.mode in ("L", "LA", "RGB", "RGBA", "I", "F") or image.mode.startswith("I;16")
    pixels = np.asarray(image if keep else image.convert("RGB"))
    if image.mode == "I" and pixels.min() >= 0 and pixels.max() < 65536:
        pixels = pixels.astype(np.uint16)  # Pillow reads the 16 bits of a PGM as 32.
    return Raster(header, pixels, image.mode in ("LA", "RGBA"), 8 * pixels.dtype.itemsize)


def _indices(image: Image.Image) -> Pixels:
    """Palette indices; gray values where the palette is gray, for writers of GIF and BMP renumber gray values."""
    found: Pixels = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = palette[np.minimum(np.unique(found), len(palette) - 1)]
    if (used == used[:, :1]).all() and len(np.unique(used[:, 0])) == len(used):
        gray: Pixels = palette[np.minimum(found, len(palette) - 1), 0]
        return gray
    return found


def _tiff_header(path: Path, source: Path | BytesIO, max_pixels: int) -> Header:
    try:
        with tiff.open_tiff(source) as page:
            check_pixels(path, page.height, page.width, max_pixels)
            return Header("TIFF", page.height, page.width, page.orientation, page.lossy)
    except InputError:
        raise
    except DECODER_ERRORS as error:
        raise damaged(path, "TIFF", error) from error
