"""The one reader of images: a file of any format that is read, as RGB of 8 bits.

Check, labeling and training read images by this module and nothing else, so that what one accepts, the others accept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.data.geometry import Window
from hiast.data.io.raster import EncodedRaster, Raster, open_raster, read_header
from hiast.data.io.sniff import MAX_PIXELS as MAX_PIXELS
from hiast.data.io.value_range import ValueRangeError as ValueRangeError
from hiast.data.io.value_range import checked_range, extremes, to_bytes
from hiast.errors import InputError

_FLAT = 0.99
"""Share of the values that two neighboring gray levels hold in an image that shows nothing."""


@dataclass(frozen=True)
class ImageFacts:
    """What decoding an image has shown.

    Attributes:
        size: (height, width) in pixels.
        bits: Bits of a value as stored: 8 for photographs.
        dtype: Type of the values as stored.
        low: Smallest value as stored, of the bands that are used; None for 8 bits, where it does not matter.
        high: Largest value.
        flat: Whether ``value_range`` makes almost one gray value of an image that holds more than one.
    """

    size: tuple[int, int]
    bits: int = 8
    dtype: str = "uint8"
    low: float | None = None
    high: float | None = None
    flat: bool = False


@dataclass(frozen=True)
class ImageReader:
    """Reads images of PNG, JPEG, TIFF, WebP, BMP, GIF, JPEG 2000, PNM, and of AVIF and HEIC by an extra.

    Gray is repeated to three channels, alpha is dropped, CMYK and palettes are converted, the EXIF orientation is
    applied, of an animation the first image is taken. 16 bits keep their upper eight unless ``value_range`` is given.

    Args:
        bands: The one or three bands to use of an image of several, counted from 1 as GDAL and QGIS do:
            [3, 2, 1]. None: images of one or three bands, besides alpha, are read; more bands are refused.
        value_range: (low, high) in the file's own values: values of more than 8 bits are mapped linearly, low to 0
            and high to 255, and clipped. None: the upper eight of 16 bits; other types are refused. Values of 8 bits
            stay as stored.

    Raises:
        InputError: A setting does not make sense.
    """

    bands: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.bands is not None:
            object.__setattr__(self, "bands", _checked_bands(self.bands))
        if self.value_range is not None:
            object.__setattr__(self, "value_range", checked_range(self.value_range))

    def read(self, path: Path | str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """The image, uint8 [H, W, 3], RGB.

        Args:
            path: File.
            max_pixels: Larger images are refused.

        Raises:
            InputError: The file is missing, unreadable, cut off, damaged or too large, or its format, bands or values
                need a setting; the message names it.
        """
        return ImageFile(self, open_raster(Path(path), max_pixels)).read()

    def size(self, path: Path | str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
        """(height, width) of an image as ``read`` gives it, from its header.

        Raises:
            InputError: As ``read``, as far as the header shows.
        """
        return read_header(Path(path), max_pixels).size

    def check(self, path: Path | str, max_pixels: int = MAX_PIXELS) -> ImageFacts:
        """Read an image as training does, and report its size and values.

        Raises:
            InputError: As ``read``, and exactly when ``read`` raises it.
        """
        path = Path(path)
        raster = open_raster(path, max_pixels).decode()
        chosen = self.select_bands(raster, path)
        pixels = to_bytes(chosen, raster.bits, self.value_range, path)
        if chosen.dtype == np.uint8:
            return ImageFacts(raster.header.size)
        low, high = extremes(chosen)
        flat = self.value_range is not None and low < high and _is_flat(pixels)
        return ImageFacts(raster.header.size, raster.bits, str(chosen.dtype), low, high, flat)

    def select_bands(self, raster: Raster, path: Path) -> NDArray[Any]:
        """The bands to use, [H, W, 1 or 3], of the type in which they are stored; ``path`` is for messages.

        Raises:
            InputError: There are other bands than can be used.
        """
        pixels = raster.pixels if raster.pixels.ndim == 3 else raster.pixels[..., None]
        if self.bands is not None:
            if max(self.bands) > pixels.shape[2]:
                raise InputError(
                    f"{path} has {pixels.shape[2]} bands: bands cannot be {list(self.bands)}; they are counted from 1."
                )
            return pixels[..., [band - 1 for band in self.bands]]
        if raster.alpha and pixels.shape[2] > 1:
            pixels = pixels[..., :-1]
        if pixels.shape[2] not in (1, 3):
            raise InputError(
                f"{path} has {pixels.shape[2]} bands: choose one or three of them with bands, such as "
                "[3, 2, 1], counted from 1."
            )
        return pixels


@dataclass(frozen=True)
class ImageFile:
    """An image file in memory, whose size is known; its pixels are decoded when they are asked for.

    Args:
        reader: The settings that it is read with.
        encoded: Its content.
    """

    reader: ImageReader
    encoded: EncodedRaster

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.encoded.header.size

    def read(self, window: Window | None = None) -> NDArray[np.uint8]:
        """Decode the image.

        Args:
            window: The part that is returned, as a view; None: the whole image.

        Returns:
            uint8 [H, W, 3], RGB.

        Raises:
            InputError: As ``ImageReader.read``.
        """
        raster, path = self.encoded.decode(), self.encoded.path
        bands = self.reader.select_bands(raster, path)
        pixels = to_bytes(bands, raster.bits, self.reader.value_range, path)
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        image = _upright(pixels, raster.header.orientation)
        return image if window is None else window.of(image)


PLAIN_IMAGES = ImageReader()
"""The reader without settings, as photographs need none."""


def read_image(path: Path | str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The image uint8 [H, W, 3], RGB, as ``ImageReader.read`` gives it without settings."""
    return PLAIN_IMAGES.read(path, max_pixels)


def image_size(path: Path | str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of an image from its header, as ``ImageReader.size``."""
    return PLAIN_IMAGES.size(path, max_pixels)


def _checked_bands(bands: Any) -> tuple[int, ...]:
    if isinstance(bands, str) or not hasattr(bands, "__iter__"):
        bands = (bands,)
    chosen = tuple(bands)
    whole = all(isinstance(band, int) and not isinstance(band, bool) and band >= 1 for band in chosen)
    if len(chosen) not in (1, 3) or not whole:
        raise InputError(
            f"bands is {list(chosen)}: give one or three numbers of bands, counted from 1, such as [3, 2, 1]."
        )
    return chosen


def _is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether almost all values are equal, but for rounding."""
    counts = np.bincount(pixels.ravel(), minlength=256)
    return bool((counts[:-1] + counts[1:]).max() >= _FLAT * pixels.size)


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The image [H, W, 3] as viewers show it, by the EXIF orientation that its file notes; contiguous."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation != 1:
        rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
            orientation, (1, 1)
        )
        image = image[::rows, ::columns]
    return np.ascontiguousarray(image)
