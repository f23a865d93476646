"""Opening a picture file: its bytes and its checked header; the first place where a file is refused."""

from __future__ import annotations

import stat
from pathlib import Path

from hiast.data.io.containers import JPEG_SIGNATURE, PNG_SIGNATURE, Header, jpeg_header, png_header
from hiast.errors import InputError

MAX_PIXELS = 120_000_000
"""Larger pictures are refused before memory is taken for them, unless a larger limit is given. The largest cameras
take about 100 million pixels."""

_HEAD = 65536


def file_header(path: Path, max_pixels: int) -> Header:
    """Header of a picture file, of which no more than its beginning is read if that holds it.

    Raises:
        InputError: The file is missing or unreadable, or its header is cut off, damaged or of too large a picture.
    """
    head = read_bytes(path, max_pixels, _HEAD)
    if len(head) == _HEAD and not _holds_header(head, path):
        head = read_bytes(path, max_pixels)
    return read_header(head, path, max_pixels, whole=False)


def _holds_header(head: bytes, path: Path) -> bool:
    try:
        read_header(head, path, 1 << 62, whole=False)
    except InputError:
        return False
    return True


def read_bytes(path: Path, max_pixels: int, limit: int = -1) -> bytes:
    """Content of a file, or its first ``limit`` bytes.

    Raises:
        InputError: It is missing, unreadable, no plain file, or too long for a picture of ``max_pixels``.
    """
    try:
        status = path.stat()
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is no file; replace or remove it.")
        if status.st_size > 8 * max_pixels:
            raise InputError(
                f"{path} has {status.st_size} bytes, more than a picture of {max_pixels} pixels takes."
            )
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; replace or remove it."
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path!r} is no path: {error}.") from error


def read_header(data: bytes, path: Path, max_pixels: int, *, whole: bool) -> Header:
    """Header of a picture's content; with ``whole`` a JPEG is checked to its end.

    Raises:
        InputError: It is cut off, damaged, of another type, or of a larger picture than ``max_pixels``.
    """
    if not data:
        raise InputError(f"{path} is empty; fetch it again.")
    if data.startswith(PNG_SIGNATURE):
        header = png_header(data, path)
    elif data.startswith(JPEG_SIGNATURE):
        header = jpeg_header(data, path, whole=whole)
    else:
        raise InputError(f"{path} is neither a PNG nor a JPEG; convert or remove it.")
    if header.width * header.height > max_pixels:
        raise InputError(
            f"{path} declares {header.width} x {header.height} pixels, more than the limit of {max_pixels}; "
            "remove it or raise max_pixels of the dataset."
        )
    return header
