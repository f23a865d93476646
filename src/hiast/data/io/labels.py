"""The one reader of labels: raw ids from image files and arrays, however they are stored.

Ids are gray values, palette indices (never the palette's colors), values of the first channel, channels of one-hot
labels, or the two sides of a threshold; labels that hold colors are read by ``label_colors.ColorIds``. Formats that
lose nothing are read: PNG, TIFF, BMP, GIF, PNM, NPY and NPZ. JPEG and other lossy formats change ids, and are read
with a threshold only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiast.data.io.arrays import array_shape, is_array, read_array
from hiast.data.io.raster import Header, Raster, read_header, read_raster
from hiast.data.io.sniff import MAX_PIXELS, open_file
from hiast.errors import InputError

Ids = NDArray[np.unsignedinteger[Any]]
"""Raw ids uint8 or uint16 [H, W]."""
Decode = Callable[[Path, int], Ids]
"""A label reader: label file, largest number of pixels -> raw ids [H, W]. It can be sent to worker processes."""

MINUS_ONE = 65535
"""Raw id of the value -1, which has no place among unsigned numbers."""
NO_CHANNEL = 255
"""Raw id of pixels of one-hot labels that belong to no channel."""

_LARGEST = 65535


@dataclass(frozen=True)
class Threshold:
    """Reads masks of two classes whose values are soft: JPEG, antialiased edges, probabilities.

    Args:
        value: Pixels of at least this value are of id 1, the others of id 0. A number below 1 is a share of the
            largest value: 0.5 is 128 of 8 bits, 32768 of 16 bits, and 0.5 in arrays of floats.

    Raises:
        InputError: The value is not a positive number.
    """

    value: float

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not self.value > 0:
            raise InputError(
                f"threshold is {self.value}: give a value of the masks such as 128, or a share such as 0.5."
            )

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """Raw ids 0 and 1, uint8 [H, W].

        Raises:
            InputError: The file is missing, damaged or too large, or holds more than gray values.
        """
        pixels = _stored(path, max_pixels, lossy=True)
        stored = pixels.dtype
        if pixels.ndim == 3:
            if pixels.shape[2] not in (1, 3):
                raise InputError(f"{path} has {pixels.shape[2]} channels; a threshold needs gray masks.")
            pixels = pixels.mean(axis=2)
        ids: Ids = (pixels >= self._limit(stored)).astype(np.uint8)
        return ids

    def size(self, path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
        """(height, width) of a mask, from its header."""
        if holds_array(path):
            return _array_size(path, max_pixels)
        return read_header(path, max_pixels).size

    def _limit(self, dtype: np.dtype[Any]) -> float:
        if self.value >= 1 or dtype.kind not in "ui":
            return self.value
        return self.value * (65536 if dtype == np.uint16 else 256)


def read_ids(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Ids [H, W]: gray values, palette indices, or the channels of one-hot arrays and of one-hot TIFF files.

    Three equal channels count as one. The value -1 is read as 65535.

    Args:
        path: Label file.
        max_pixels: Larger labels are refused.

    Raises:
        InputError: The file is missing, damaged or too large, of a lossy format, notes an EXIF orientation, or holds
            colors or fractions.
    """
    pixels = _stored(path, max_pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        if (pixels[..., :1] == pixels).all():
            pixels = pixels[..., 0]
        elif not holds_array(path):
            raise InputError(
                f"{path} holds colors where one id per pixel is expected: use the file that holds ids, "
                "or describe the dataset with a color table (label_colors) or first_channel: true."
            )
    return _whole(pixels, path) if pixels.ndim == 2 else _one_hot(pixels, path)


def read_first_channel(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Ids [H, W] in the first (red) channel of a label with any number of channels.

    Raises:
        InputError: As ``read_ids``.
    """
    pixels = _stored(path, max_pixels)
    return _whole(pixels if pixels.ndim == 2 else pixels[..., 0], path)


def read_one_hot(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Ids [H, W]: for each pixel the number of the one channel that is not zero, counted from 0; 255 where none is.

    Raises:
        InputError: As ``read_ids``, or the label is not one-hot.
    """
    pixels = _stored(path, max_pixels)
    return _one_hot(pixels if pixels.ndim == 3 else pixels[..., None], path)


def label_size(path: Path, max_pixels: int = MAX_PIXELS, decode: Decode | None = None) -> tuple[int, int]:
    """(height, width) of a label from its header.

    Args:
        path: Label file.
        max_pixels: Larger labels are refused.
        decode: The label's reader; one that has a method ``size`` is asked. None: ``read_ids``.

    Raises:
        InputError: As the reader, as far as the header shows.
    """
    size = getattr(decode, "size", None)
    if size is not None:
        height, width = size(path, max_pixels)
        return height, width
    if holds_array(path):
        return _array_size(path, max_pixels)
    header = read_header(path, max_pixels)
    _check_header(header, path)
    return header.size


def describe_decode(decode: Decode) -> str:
    """What decides about the ids that a label reader gives, besides the pairs' label files; equal in every process.

    Args:
        decode: The reader; one that has a method ``describe`` is asked, of a function its name counts.
    """
    describe = getattr(decode, "describe", None)
    return str(getattr(decode, "__qualname__", repr(decode)) if describe is None else describe())


def read_label_raster(path: Path, max_pixels: int, *, indices: bool) -> Raster:
    """A label image as stored, after the checks that hold for all labels.

    Raises:
        InputError: As ``read_ids``.
    """
    raster = read_raster(path, max_pixels, indices=indices)
    _check_header(raster.header, path)
    return raster


def _stored(path: Path, max_pixels: int, *, lossy: bool = False) -> NDArray[Any]:
    """Values as stored, [H, W] or [H, W, C]; an alpha channel is dropped."""
    if holds_array(path):
        return _channels_last(read_array(path, max_pixels), path)
    if lossy:
        raster = read_raster(path, max_pixels)
        _check_orientation(raster.header, path)
    else:
        raster = read_label_raster(path, max_pixels, indices=True)
    pixels = raster.pixels
    if pixels.ndim == 3 and raster.alpha:
        pixels = pixels[..., :-1]
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def holds_array(path: Path) -> bool:
    """Whether a label file is an NPY or NPZ file."""
    with open_file(path) as file:
        return is_array(file.read(8))


def _array_size(path: Path, max_pixels: int) -> tuple[int, int]:
    shape = array_shape(path, max_pixels)
    if len(shape) == 3:
        # Which axis holds the channels can depend on the values.
        shape = _channels_last(read_array(path, max_pixels), path).shape
    return shape[0], shape[1]


def _check_header(header: Header, path: Path) -> None:
    if header.lossy:
        kind = f"an {header.format}" if header.format.startswith("A") else f"a {header.format}"
        raise InputError(
            f"{path} is {kind}, whose compression changes label ids: save labels as PNG. Masks of two classes can be "
            "read with threshold: 128 in the dataset file."
        )
    _check_orientation(header, path)


def _check_orientation(header: Header, path: Path) -> None:
    # Programs that write labels copy the orientation of the image, whether they have rotated the ids or not.
    if header.orientation != 1:
        raise InputError(
            f"{path} notes an EXIF orientation ({header.orientation}), and it is not known whether its ids are rotated "
            "already: save the label as it has to lie on the image, without an orientation."
        )


def _channels_last(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    if 1 in (array.shape[0], array.shape[2]):
        return array[0] if array.shape[0] == 1 else array[..., 0]
    first, last = (_is_one_hot(array, axis) for axis in (0, 2))
    if first and (not last or array.shape[0] <= array.shape[2]):
        return np.moveaxis(array, 0, 2)
    return array


def _is_one_hot(pixels: NDArray[Any], axis: int) -> bool:
    """Whether at most one value along an axis is not zero, and all that are not zero are equal."""
    used = pixels != 0
    top = pixels.max()
    return bool((used.sum(axis) <= 1).all() and (pixels[used] == top).all() and used.any())


def _one_hot(pixels: NDArray[Any], path: Path) -> Ids:
    if pixels.shape[2] > NO_CHANNEL or not _is_one_hot(pixels, 2):
        raise InputError(
            f"{path} has {pixels.shape[2]} channels and is not one-hot: save a label map with one id per pixel, or set "
            "first_channel: true if the first channel holds the ids."
        )
    ids: Ids = np.where((pixels != 0).any(2), pixels.argmax(2), NO_CHANNEL).astype(np.uint8)
    return ids


def _whole(pixels: NDArray[Any], path: Path) -> Ids:
    """Values as unsigned numbers.

    Raises:
        InputError: Some are fractions or out of range.
    """
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind == "f" and np.isnan(pixels).any():
        raise InputError(
            f"{path} holds NaN where ids are expected: save whole numbers, with 255 or -1 for pixels to ignore."
        )
    if pixels.dtype.kind == "f" and not (pixels == np.floor(pixels)).all():
        raise InputError(
            f"{path} holds fractions where ids are expected: save whole numbers, or set threshold for two classes."
        )
    low, high = pixels.min().item(), pixels.max().item()
    if low < -1 or high > _LARGEST:
        raise InputError(
            f"{path} holds the value {low if low < -1 else high}; ids are whole numbers from -1 to 65535."
        )
    ids: Ids = np.where(pixels == -1, MINUS_ONE, pixels.astype(np.int64)).astype(np.uint16)
    return ids
