"""TIFF through tifffile: one image of any number of bands, with the checks of completeness that tifffile leaves out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tifffile import TiffFileError

_LOSSY = frozenset({6, 7, 33003, 33004, 33005, 34712, 34892, 34933, 50001, 50002, 52546})
"""Compression tags of JPEG, JPEG 2000, WebP and JPEG XL."""
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 3, 5, 6, 8
_WIDTH, _LENGTH, _COLOR_MAP, _ORIENTATION = 256, 257, 320, 274


@contextmanager
def open_tiff(source: Path | BytesIO) -> Iterator[TiffImage]:
    """The image of an open TIFF file.

    Raises:
        TiffFileError: The structure of the file is damaged, or the file is cut off.
    """
    quiet_tifffile()
    with tifffile.TiffFile(source) as file:
        series = file.series[0]
        pages = [page for page in series.pages if page is not None]
        for page in pages:
            _check_complete(page, file.filehandle.size)
        yield TiffImage(series, pages[0])


def quiet_tifffile() -> None:
    """Keep tifffile from logging a line for each tag of a damaged file: the error that follows names the file."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class TiffImage:
    """The first image of a TIFF file: its pages of one size are its bands, further images are left out."""

    series: Any
    page: Any

    @property
    def height(self) -> int:
        """Rows as stored."""
        return int(self.page.imagelength)

    @property
    def width(self) -> int:
        """Columns as stored."""
        return int(self.page.imagewidth)

    @property
    def orientation(self) -> int:
        """Orientation, 1 (as stored) to 8."""
        tag = self.page.tags.get(_ORIENTATION)
        value = 1 if tag is None else tag.value
        return int(value) if value in range(1, 9) else 1

    @property
    def lossy(self) -> bool:
        """Whether the compression may have changed values."""
        return int(self.page.compression) in _LOSSY

    @property
    def palette(self) -> NDArray[np.uint8]:
        """Colors uint8 [N, 3] of the indices that the pixels are; none where they are none."""
        if int(self.page.photometric) != _PALETTE:
            return np.empty((0, 3), np.uint8)
        table = np.asarray(self.page.colormap)  # uint16 [3, 2 ** bits]
        return (table >> 8 if table.max() > 255 else table).astype(np.uint8).T

    @property
    def alpha(self) -> bool:
        """Whether the last channel is declared to be an alpha channel."""
        extra = tuple(int(value) for value in self.page.extrasamples)
        return bool(extra) and extra[-1] in (1, 2)

    @property
    def bits(self) -> int:
        """Significant bits of a value."""
        return max(8, int(self.page.bitspersample))

    def read(self, *, indices: bool, max_bytes: int) -> NDArray[Any]:
        """Pixels [H, W] or [H, W, C].

        Args:
            indices: Give palette indices and values of less than 8 bits as stored, see ``decoders.decode_png``.
            max_bytes: Larger arrays are refused.

        Raises:
            ValueError: The pixels are damaged, or their layout is not supported.
        """
        needed = math.prod(self.series.shape) * self.series.dtype.itemsize
        if needed > max_bytes:
            raise ValueError(f"its {needed} bytes of pixels are more than the limit")
        pixels: NDArray[Any] = self.series.asarray(maxworkers=1)
        pixels = self._channels_last(pixels)
        photometric, depth = int(self.page.photometric), int(self.page.bitspersample)
        if pixels.dtype == bool:
            pixels = pixels.astype(np.uint8)
        if photometric == _PALETTE:
            return pixels if indices else np.ascontiguousarray(self.palette[pixels])
        if photometric == _WHITE_IS_ZERO:
            pixels = (2**depth - 1) - pixels if depth < 8 else np.invert(pixels)
        if depth < 8 and not indices:
            pixels = pixels * np.uint8(255 // (2**depth - 1))
        if photometric in (_CMYK, _LAB) or (photometric == _YCBCR and not self.lossy):
            return _converted(pixels, {_CMYK: "CMYK", _LAB: "LAB"}.get(photometric, "YCbCr"))
        return pixels

    def _channels_last(self, pixels: NDArray[Any]) -> NDArray[Any]:
        size = (self.height, self.width)
        if pixels.ndim == 3 and pixels.shape[1:] == size:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim not in (2, 3) or pixels.shape[:2] != size:
            raise ValueError(
                f"it holds several images ({self.series.axes} of shape {list(self.series.shape)}); save one image "
                "per file"
            )
        return pixels


def _check_complete(page: Any, size: int) -> None:
    """Refuse pages whose tags were lost or whose pixels lie beyond the end of the file.

    Raises:
        TiffFileError: Says which.
    """
    if any(tag not in page.tags for tag in (_WIDTH, _LENGTH)) or page.dtype is None:
        raise TiffFileError("tags are missing")
    if int(page.photometric) == _PALETTE and _COLOR_MAP not in page.tags:
        raise TiffFileError("the palette is missing")
    segments = math.prod(page.chunked)
    if not len(page.dataoffsets) == len(page.databytecounts) == segments:
        raise TiffFileError(f"{len(page.dataoffsets)} of {segments} strips or tiles are declared")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        # GDAL leaves empty tiles out: both are 0 then.
        if offset + count > size or (offset == 0) != (count == 0):
            raise TiffFileError(f"pixels are declared at byte {offset} of {size}")


def _converted(pixels: NDArray[Any], mode: str) -> NDArray[np.uint8]:
    if pixels.dtype != np.uint8:
        raise ValueError(f"its colors are {mode} of more than 8 bits; convert it to RGB")
    height, width = pixels.shape[:2]
    return np.asarray(Image.frombytes(mode, (width, height), pixels.tobytes()).convert("RGB"))
