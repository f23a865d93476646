"""Whatever a person has as an image, as one kind of array: uint8 [H, W, 3], RGB."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from hiast.data.io.images import PLAIN_IMAGES, ImageReader
from hiast.errors import InputError

_KINDS = "a path, a PIL image, an open file, or an array or tensor [H, W], [H, W, C] or [C, H, W]"
_ANYWAY = (1.0, 2.0)
"""The largest value of a float image that is neither 0..1 nor 0..255: a resize has overshot, or a scale is wrong."""


def as_rgb(x: Any, reader: ImageReader = PLAIN_IMAGES) -> NDArray[np.uint8]:
    """One image as uint8 [H, W, 3], RGB.

    Gray is repeated to three channels and alpha is dropped, as in image files. Of 16 bits the upper eight are kept.

    Args:
        x: One of these:

            - the path of an image file (str or Path), an open binary file, or the bytes of a file;
            - a PIL image of any mode, taken as it is: its EXIF orientation is not applied;
            - an array or tensor [H, W], [H, W, C] or [C, H, W] with 1 to 4 channels (gray, gray and alpha, RGB, RGBA),
              on any device. Where both orders of axes fit, an array is [H, W, C] and a tensor [C, H, W]. Values are
              uint8, uint16, bool, other integers from 0 to 255, or floats: from 0 to 1 if none is above 1, else from 0
              to 255. A batch [1, ...] of one image is taken too.

        reader: Reads paths, open files and bytes.

    Returns:
        A contiguous array of its own, or ``x`` itself if it is one already.

    Raises:
        InputError: It is none of these, has no pixel, or its values are out of range; or the file cannot be read.

    Examples:
        >>> as_rgb(torch.ones(1, 2, 4)).shape
        (2, 4, 3)
        >>> as_rgb(np.array([[0, 255]], np.uint8))[0, 1].tolist()
        [255, 255, 255]
    """
    if isinstance(x, str | PathLike):
        return _from_path(x, reader)
    if isinstance(x, bytes | bytearray):
        return _from_bytes(bytes(x), "The image", reader)
    if isinstance(x, Image.Image):
        return _from_pil(x)
    if isinstance(x, torch.Tensor):
        return _from_tensor(x)
    if isinstance(x, np.ndarray | np.generic):
        return _from_array(np.asarray(x), channels_first=False)
    if hasattr(x, "read"):
        return _from_file(x, reader)
    if hasattr(x, "__array__"):
        return _from_array(np.asarray(x), channels_first=False)
    raise InputError(f"An image is {_KINDS}, not a {type(x).__name__}.")


def is_several(x: Any) -> bool:
    """Whether ``x`` stands for several images: a list, a tuple, or a batch [B, ...] of an array or tensor."""
    return isinstance(x, list | tuple) or (isinstance(x, np.ndarray | torch.Tensor) and x.ndim == 4)


def as_images(x: Any, reader: ImageReader = PLAIN_IMAGES) -> Iterator[NDArray[np.uint8]]:
    """All images that ``x`` stands for, uint8 [H, W, 3] RGB, one by one.

    Args:
        x: One image as ``as_rgb`` takes it, a list or tuple of such, or a batch [B, H, W, C] or [B, C, H, W].
        reader: Reads paths, open files and bytes.

    Raises:
        InputError: As ``as_rgb``; the message says which of several images it is.
    """
    if not is_several(x):
        yield as_rgb(x, reader)
        return
    if isinstance(x, np.ndarray | torch.Tensor):
        yield from _from_batch(x)
        return
    for number, one in enumerate(x):
        try:
            yield as_rgb(one, reader)
        except InputError as error:
            if isinstance(one, str | PathLike):
                raise
            raise InputError(f"Image {number} of the list: {error}") from error


def _from_path(path: str | PathLike[str], reader: ImageReader) -> NDArray[np.uint8]:
    if isinstance(path, str) and path.startswith(("http://", "https://")):
        raise InputError(f"{path} is an address: download the image first and give its path.")
    place = Path(path)
    if place.is_dir():
        raise InputError(
            f"{place} is a folder: give a list of its images, or use hiast-predict input={place}."
        )
    return reader.read(place)


def _from_file(file: Any, reader: ImageReader) -> NDArray[np.uint8]:
    content = file.read()
    name = getattr(file, "name", None)
    if not isinstance(content, bytes):
        raise InputError(f"{name or 'The file'} is open as text: open it with mode 'rb'.")
    return _from_bytes(content, name if isinstance(name, str) else "The open file", reader)


def _from_bytes(content: bytes, name: str, reader: ImageReader) -> NDArray[np.uint8]:
    # By the one reader of image files, so that a file gives the same image however it comes.
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "image"
        place.write_bytes(content)
        try:
            return reader.read(place)
        except InputError as error:
            raise InputError(str(error).replace(str(place), name)) from error


def _from_pil(image: Image.Image) -> NDArray[np.uint8]:
    if 0 in image.size:
        raise InputError(f"The PIL image has no pixel: its size is {image.size[0]} x {image.size[1]}.")
    if image.mode == "I":
        return _from_array(_upper_bits(np.asarray(image)), channels_first=False)
    if image.mode == "F" or image.mode.startswith("I;16"):
        return _from_array(np.asarray(image), channels_first=False)
    if image.mode in ("LA", "La", "PA", "RGBa"):
        # Pillow converts these to RGB by way of RGBA only.
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _upper_bits(values: NDArray[np.int32]) -> NDArray[Any]:
    """Pillow's 32-bit integers, the mode in which older versions open images of 16 bits."""
    fits = values.min() >= 0 and 255 < values.max() <= 65535
    return values.astype(np.uint16) if fits else values


def _from_tensor(tensor: torch.Tensor) -> NDArray[np.uint8]:
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return _from_array(tensor.cpu().numpy(), channels_first=True)


def _from_batch(batch: NDArray[Any] | torch.Tensor) -> Iterator[NDArray[np.uint8]]:
    if isinstance(batch, torch.Tensor):
        batch = batch.detach()
        array = (batch.float() if batch.dtype in (torch.bfloat16, torch.float16) else batch).cpu().numpy()
        channels_first = True
    else:
        array, channels_first = batch, False
    # Values are judged over the whole batch: a dark image must not be taken for one with another scale.
    values = _to_bytes(array, f"The batch {list(array.shape)}")
    for image in values:
        yield _three_channels(image, channels_first)


def _from_array(array: NDArray[Any], *, channels_first: bool) -> NDArray[np.uint8]:
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 4:
        raise InputError(f"One image is needed here, and {list(array.shape)} is a batch of {array.shape[0]}.")
    return _three_channels(_to_bytes(array, f"The image {list(array.shape)}"), channels_first)


def _to_bytes(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Values as uint8."""
    if array.size == 0:
        raise InputError(f"{what} has no pixel.")
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{what} holds {array.dtype}: give numbers, uint8 at best.")
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{what} holds values that are not finite (NaN or infinite).")
    if low < 0 or high > 255:
        raise InputError(
            f"{what} holds values from {low:g} to {high:g}: give uint8, uint16, floats from 0 to 1 or from 0 to 255, "
            "as they are before any normalization."
        )
    if array.dtype.kind in "iu":
        return array.astype(np.uint8)
    if _ANYWAY[0] < high <= _ANYWAY[1]:
        raise InputError(f"{what} holds floats up to {high:g}: clip them to 1, or scale them to 0..255.")
    scaled = array * 255.0 if high <= _ANYWAY[0] else array
    return np.rint(scaled).astype(np.uint8)


def _three_channels(values: NDArray[np.uint8], channels_first: bool) -> NDArray[np.uint8]:
    """[H, W, 3] of uint8 [H, W], [H, W, C] or [C, H, W]."""
    if values.ndim == 3:
        orders: Sequence[int] = (0, 2) if channels_first else (2, 0)
        axis = next((axis for axis in orders if values.shape[axis] in (1, 2, 3, 4)), None)
        if axis is None:
            raise InputError(
                f"An image [H, W, C] or [C, H, W] has 1 to 4 channels, and {list(values.shape)} has none of that: give "
                "a batch of gray images as [B, 1, H, W]."
            )
        planes = np.moveaxis(values, axis, 2)
        values = planes[..., :3] if planes.shape[2] >= 3 else planes[..., 0]
    if values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    if values.ndim != 3:
        raise InputError(f"An image is [H, W], [H, W, C] or [C, H, W], not {list(values.shape)}.")
    return np.ascontiguousarray(values)
