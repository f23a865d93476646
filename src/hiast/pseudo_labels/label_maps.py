"""Label maps as PNG files: written by OpenCV, read by libdeflate.

Any viewer opens the files. OpenCV, Pillow and libspng inflate with zlib and read a map of 768 x 1536 pixels in 3.0 to
3.6 ms; libdeflate takes 0.3 to 0.65 ms, as zstd does (``benchmarks/label_maps.py``). So the format is PNG, and the
reader finds the compressed pixels itself.
"""

from __future__ import annotations

import struct

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_label(label: NDArray[np.uint8]) -> bytes:
    """PNG file of a label map uint8 [H, W]: 8-bit gray, rows without filters."""
    return cv2.imencode(".png", label, _options())[1].tobytes()


def decode_label(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Label map uint8 [H, W] in a file that ``encode_label`` made.

    Args:
        content: The whole file. Its checksum is the caller's business: a round keeps one of every file.
        size: (height, width) that the map must have.

    Raises:
        ValueError: The file is something else.
    """
    height, width = size
    try:
        header, pixels = _chunks(content)
        if header != struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0):
            raise ValueError("another kind of picture")
        rows = np.frombuffer(imagecodecs.deflate_decode(pixels, out=height * (width + 1)), np.uint8)
    except (struct.error, imagecodecs.DeflateError) as error:
        raise ValueError("not a PNG") from error
    if rows.size != height * (width + 1):
        raise ValueError("too few pixels")
    rows = rows.reshape(height, width + 1)
    if rows[:, 0].any():  # OpenCV before 4.11 filters rows.
        return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), np.uint8)
    return np.ascontiguousarray(rows[:, 1:])


def _chunks(content: bytes) -> tuple[bytes, bytes]:
    """Header and compressed pixels of a PNG file."""
    if not content.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    header, pixels = b"", []
    place = len(_SIGNATURE)
    while place < len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            header = data
        elif kind == b"IDAT":
            pixels.append(data)
        place += 12 + length
    return header, b"".join(pixels)


def _options() -> list[int]:
    # The run-length strategy gives the smallest files of label maps and is the fastest to write.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    # Class indices do not vary smoothly, so filters only cost time. Older versions of OpenCV have no such option.
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):
        options += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE]
    return options
