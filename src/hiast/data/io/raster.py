"""Image files to arrays as stored, for images and for labels: header first, then pixels, whole or refused.

Pillow reads the headers and EXIF, tifffile those of TIFF; see ``decoders`` for the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

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

from hiast.data.io.decoders import DECODER_ERRORS, Decoded, decode_by_pillow, decode_jpeg, decode_png
from hiast.data.io.sniff import (
    HEAD,
    MAX_PIXELS,
    check_pixels,
    image_format,
    not_an_image,
    open_file,
    read_all,
)
from hiast.data.io.tiff import open_tiff
from hiast.errors import InputError

Pixels = NDArray[Any]

LOSSY = frozenset({"JPEG", "WebP", "JPEG 2000", "AVIF", "HEIC"})
"""Formats whose compression may change values, so that they cannot hold ids."""

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


def read_palette(path: Path) -> NDArray[np.uint8]:
    """Colors uint8 [N, 3] of the indices of a palette image, none of other images; no pixel is decoded.

    Raises:
        InputError: The file is missing, unreadable or of no known format, or its header is damaged.
    """
    with open_file(path) as file:
        kind = _format(path, file.read(HEAD))
        file.seek(0)
        try:
            if kind == "TIFF":
                with open_tiff(path) as page:
                    return page.palette
            image = _open(path, kind, file)
            if image.mode != "P" or image.palette is None:
                return np.empty((0, 3), np.uint8)
            # The palette of the open file itself would be given only after its pixels were decoded.
            small = Image.new("P", (1, 1))
            small.putpalette(image.palette)
            return np.array(small.getpalette("RGB"), np.uint8).reshape(-1, 3)
        except InputError:
            raise
        except DECODER_ERRORS as error:
            raise damaged(path, kind, error) from error


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
        kind, stream = self.header.format, BytesIO(self.data)
        try:
            if kind == "PNG":
                decoded = decode_png(self.data, indices=indices)
            elif kind == "TIFF":
                with open_tiff(stream) as page:
                    pixels = page.read(indices=indices, max_bytes=_TIFF_BYTES_PER_PIXEL * self.max_pixels)
                    decoded = Decoded(pixels, page.alpha, page.bits)
            elif kind == "JPEG":
                image = _open(self.path, kind, stream)
                decoded = decode_jpeg(self.data, image, stream.tell())
            elif kind in ("WebP", "AVIF", "HEIC") and self.data.endswith(_PADDING):
                raise ValueError("it ends in zeros, as an interrupted download does")
            else:
                decoded = decode_by_pillow(_open(self.path, kind, stream), indices=indices)
        except InputError:
            raise
        except DECODER_ERRORS as error:
            raise damaged(self.path, kind, error) from error
        if decoded.pixels.shape[:2] != (self.header.height, self.header.width):
            raise damaged(self.path, kind, ValueError(f"its pixels are {list(decoded.pixels.shape)}"))
        return Raster(self.header, *decoded)


def open_raster(path: Path, max_pixels: int = MAX_PIXELS) -> EncodedRaster:
    """Read an image file into memory, opening it once.

    Args:
        path: File.
        max_pixels: Larger images are refused before memory is allocated for them.

    Raises:
        InputError: As ``read_header``.
    """
    with open_file(path) as file:
        kind = _format(path, file.read(HEAD))
        per_pixel = _TIFF_BYTES_PER_PIXEL if kind == "TIFF" else _BYTES_PER_PIXEL
        data = read_all(path, file, per_pixel * max_pixels)
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


def _tiff_header(path: Path, source: Path | BytesIO, max_pixels: int) -> Header:
    try:
        with open_tiff(source) as page:
            check_pixels(path, page.height, page.width, max_pixels)
            return Header("TIFF", page.height, page.width, page.orientation, page.lossy)
    except InputError:
        raise
    except DECODER_ERRORS as error:
        raise damaged(path, "TIFF", error) from error
