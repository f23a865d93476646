"""Tell the format of a file by its content, and read its bytes."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from hiast.errors import InputError

MAX_PIXELS = 120_000_000
"""Default limit of an image in pixels, checked before memory is allocated. The largest cameras have 100 million."""

HEAD = 64
"""Number of bytes that ``image_format`` looks at."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
)
_PNM = re.compile(rb"P[1-6][\s#]")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_NOT_IMAGES: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the file itself; fetch the file with 'git lfs pull'",
    ),
    (b"%PDF", "a PDF; save its pages as PNG files"),
    (b"<", "a text file such as a web page; download the file again"),
    (b"PK\3\4", "a zip archive; unpack it"),
    (b"{", "a JSON file; annotations are read by the key format of the dataset file"),
)


def image_format(head: bytes) -> str | None:
    """Format of an image file, by its first ``HEAD`` bytes.

    Returns:
        "PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF", "JPEG 2000", "PNM", "AVIF" or "HEIC"; None for anything else.
    """
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if _PNM.match(head):
        return "PNM"
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[place : place + 4] for place in (8, *range(16, end - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIC"
    return None


def looks_like_image(path: Path) -> bool:
    """Whether a file begins as an image of a format that can be read; False where it cannot be opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return image_format(file.read(HEAD)) is not None
    except (OSError, ValueError):
        return False


def not_an_image(path: Path, head: bytes) -> InputError:
    """The error for a file of no format that can be read."""
    for start, what in _NOT_IMAGES:
        if head.lstrip().startswith(start):
            return InputError(f"{path} is {what}.")
    return InputError(
        f"{path} is not an image that can be read: convert it to PNG, or remove it. JPEG, TIFF, WebP, BMP, GIF, "
        "JPEG 2000, PNM, AVIF and HEIC are read too."
    )


def open_file(path: Path) -> BinaryIO:
    """Open a regular file that is not empty.

    Raises:
        InputError: The file is missing, cannot be read, is empty or is not a regular file.
    """
    try:
        status = path.stat()
        # A pipe or a device would block or never end.
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file; replace or remove it.")
        if not status.st_size:
            raise InputError(f"{path} is empty; fetch it again.")
        return path.open("rb")
    except OSError as error:
        # Path.is_symlink raises where the name is too long.
        broken = os.path.islink(path) and not os.path.exists(path)  # noqa: PTH110, PTH114
        reason = f"it is a link to {path.readlink()}, which is missing" if broken else error.strerror or error
        raise InputError(f"{path} cannot be read: {reason}; replace or remove it.") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{str(path)!r} is not a path: {error}.") from error


def read_all(path: Path, file: BinaryIO, limit: int) -> bytes:
    """All bytes of an open file.

    Raises:
        InputError: The file cannot be read, or is longer than ``limit`` bytes.
    """
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise InputError(f"{path} has {size} bytes, more than an image of the largest size takes ({limit}).")
    try:
        file.seek(0)
        return file.read()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; replace or remove it."
        ) from error


def check_pixels(path: Path, height: int, width: int, max_pixels: int) -> None:
    """Refuse images without pixels and images above the limit.

    Raises:
        InputError: Names the file and its size.
    """
    if height < 1 or width < 1:
        raise InputError(f"{path} declares a size of {width} x {height} pixels; replace or remove it.")
    if height * width > max_pixels:
        raise InputError(
            f"{path} declares {width} x {height} pixels, more than the limit of {max_pixels}; "
            "remove it or raise max_pixels."
        )
