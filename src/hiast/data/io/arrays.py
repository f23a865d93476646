"""NPY and NPZ files of numpy: label maps and one-hot labels as arrays."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hiast.data.io.sniff import check_pixels, open_file
from hiast.errors import InputError

_NPY, _ZIP = b"\x93NUMPY", b"PK\3\4"
_ERRORS = (ValueError, OSError, EOFError, SyntaxError, TypeError, KeyError, zipfile.BadZipFile, zlib.error)
_CHANNELS = 256


def is_array(head: bytes) -> bool:
    """Whether a file is NPY or NPZ, by its first bytes."""
    return head.startswith((_NPY, _ZIP))


def read_array(path: Path, max_pixels: int) -> NDArray[Any]:
    """The array in an NPY file, or the only one in an NPZ file.

    Raises:
        InputError: The file is missing, damaged, holds several arrays, objects, or more than ``max_pixels`` pixels.
    """
    with open_file(path) as file:
        try:
            return _read(path, file, max_pixels, whole=True)
        except InputError:
            raise
        except _ERRORS as error:
            raise InputError(f"{path} cannot be read as a numpy array ({error}); save it again.") from error


def array_shape(path: Path, max_pixels: int) -> tuple[int, ...]:
    """Shape of the array that ``read_array`` gives, from its header.

    Raises:
        InputError: As ``read_array``, as far as the header shows.
    """
    with open_file(path) as file:
        try:
            return _read(path, file, max_pixels, whole=False).shape
        except InputError:
            raise
        except _ERRORS as error:
            raise InputError(f"{path} cannot be read as a numpy array ({error}); save it again.") from error


def _read(path: Path, file: BinaryIO, max_pixels: int, *, whole: bool) -> NDArray[Any]:
    if file.read(len(_NPY)) == _NPY:
        file.seek(0)
        return _read_npy(path, file, max_pixels, whole=whole)
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        if len(names) != 1:
            held = ", ".join(name.removesuffix(".npy") for name in names) or "none"
            raise InputError(f"{path} has to hold one array and holds {held}: save the label map alone.")
        with archive.open(names[0]) as member:
            array = _read_npy(path, member, max_pixels, whole=whole)  # type: ignore[arg-type]
            if whole:
                member.read()  # At the end of a member its checksum is compared.
            return array


def _read_npy(path: Path, file: BinaryIO, max_pixels: int, *, whole: bool) -> NDArray[Any]:
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    _check(path, shape, dtype, max_pixels)
    if not whole:
        return np.broadcast_to(np.zeros((), dtype), shape)
    count = math.prod(shape)
    content = file.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"it ends after {len(content)} of {count * dtype.itemsize} bytes")
    array = np.frombuffer(content, dtype, count)
    return array.reshape(shape[::-1]).T if fortran_order else array.reshape(shape)


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], max_pixels: int) -> None:
    """Refuse what cannot be a label map before memory is allocated.

    Raises:
        InputError: Names the type and shape.
    """
    if dtype.kind not in "biuf" or len(shape) not in (2, 3) or 0 in shape:
        raise InputError(
            f"{path} is an array {dtype} {list(shape)}: save a label map [H, W] of whole numbers, or one-hot labels "
            "[C, H, W]."
        )
    channels = min(shape) if len(shape) == 3 else 1
    if channels > _CHANNELS:
        raise InputError(
            f"{path} is an array {list(shape)}, which is too large for labels; save a label map [H, W]."
        )
    check_pixels(path, math.prod(shape) // channels, 1, max_pixels)
