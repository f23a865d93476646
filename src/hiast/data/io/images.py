"""Files to arrays: PNG and JPEG to RGB images, label files to ids; decoded whole or refused by name.

The format is taken from the content, whatever the suffix says. Images: gray is repeated to three channels,
alpha is dropped, 16 bits keep their upper eight, CMYK is converted, the EXIF orientation is applied. Labels
are PNG, since the compression of a JPEG changes ids; a label that notes an orientation is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from hiast.data.io.containers import GRAY, PALETTE, RGB, Header, plain_png
from hiast.data.io.headers import MAX_PIXELS as MAX_PIXELS
from hiast.data.io.headers import file_header, read_bytes, read_header
from hiast.errors import InputError

UNKNOWN_COLOR = 65535
"""Raw id of a color that a color table does not name."""

Ids = NDArray[np.unsignedinteger]
"""Raw ids uint8 or uint16 [H, W]."""
Decode = Callable[[Path, int], Ids]
"""Label file, largest number of pixels -> raw ids [H, W]."""


def read_image(path: Path | str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture in a PNG or JPEG file as uint8 [H, W, 3], RGB.

    Args:
        path: File.
        max_pixels: Larger pictures are refused.

    Raises:
        InputError: The file is missing, unreadable, cut off, damaged, too large, or neither PNG nor JPEG.
    """
    path = Path(path)
    data = read_bytes(path, max_pixels)
    header = read_header(data, path, max_pixels, whole=True)
    if header.kind == "png":
        data = plain_png(data, path, header, indices=False)
        if header.color == RGB and header.depth == 8:
            return _upright(_decode_rgb(data, header, path), header.orientation)
    if hasattr(cv2, "IMREAD_COLOR_RGB"):  # Faster by a tenth than to exchange the channels afterwards.
        pixels = _decode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, header, path)
    else:
        pixels = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, header, path)
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return _upright(pixels, header.orientation)


def read_ids(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Ids [H, W] of a label PNG with one channel: gray values, or palette indices (never the colors).

    A gray picture that was saved with three equal channels is accepted.

    Raises:
        InputError: As ``read_image``, or the file is a JPEG, notes an orientation or holds colors.
    """
    pixels = _read_label(path, max_pixels)
    if pixels.ndim == 2:
        return pixels
    ids: Ids = np.ascontiguousarray(pixels[..., 2])
    if not (np.array_equal(ids, pixels[..., 0]) and np.array_equal(ids, pixels[..., 1])):
        raise InputError(
            f"{path} holds colors where one id per pixel is expected: use the file that holds ids, "
            "or describe the dataset with a color table (label_colors) or first_channel: true."
        )
    return ids


def read_first_channel(path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
    """Ids [H, W] in the first (red) channel of a label PNG of 8 or 16 bits with any number of channels.

    Raises:
        InputError: As ``read_image``, or the file is a JPEG or notes an orientation.
    """
    pixels = _read_label(path, max_pixels)
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[..., 2])
    return pixels


class ColorIds:
    """Decodes label PNGs that hold colors.

    Args:
        colors: (red, green, blue) of 8 bits -> raw id below 65535.
    """

    def __init__(self, colors: Mapping[tuple[int, int, int], int]) -> None:
        self.colors = tuple(sorted((r << 16 | g << 8 | b, raw) for (r, g, b), raw in colors.items()))

    def named(self, ids: Collection[int]) -> list[str]:
        """The colors that stand for some raw ids, as "red,green,blue"."""
        return [_text(color) for color, raw in self.colors if raw in ids]

    def __call__(self, path: Path, max_pixels: int = MAX_PIXELS) -> Ids:
        """Raw ids uint16 [H, W]; colors without an entry become ``UNKNOWN_COLOR``.

        Raises:
            InputError: As ``read_image``, or the file is a JPEG or notes an orientation.
        """
        table = _color_table(self.colors)
        pixels = _read_label(path, max_pixels, colors=True)
        ids = np.empty(pixels.shape[:2], np.uint16)
        for rows in row_blocks(pixels):
            ids[rows] = table[_packed(pixels[rows])]
        return ids

    def unknown(self, path: Path, max_pixels: int = MAX_PIXELS) -> dict[str, int]:
        """Colors of a label that have no entry, as "red,green,blue", with their pixels; the most frequent 10,000.

        Raises:
            InputError: As ``read_image``, or the file is a JPEG or notes an orientation.
        """
        table = _color_table(self.colors)
        pixels = _read_label(path, max_pixels, colors=True)
        counts = np.zeros(1 << 24, np.int32)
        for rows in row_blocks(pixels):
            packed = _packed(pixels[rows])
            found, times = np.unique(packed[table[packed] == UNKNOWN_COLOR], return_counts=True)
            counts[found] += times
        seen = np.flatnonzero(counts)
        frequent = seen[np.argsort(-counts[seen], kind="stable")][:10_000]
        return {_text(color): int(counts[color]) for color in frequent.tolist()}


def _text(color: int) -> str:
    return f"{color >> 16},{color >> 8 & 255},{color & 255}"


def _packed(pixels: Ids) -> NDArray[np.int32]:
    """Colors as red << 16 | green << 8 | blue, [H, W], of pixels [H, W, 3] in the order blue, green, red."""
    wide = pixels.astype(np.int32)
    return wide[..., 2] << 16 | wide[..., 1] << 8 | wide[..., 0]


def row_blocks(pixels: NDArray[Any]) -> Iterator[slice]:
    """Rows of a picture [H, W, ...], a million pixels at a time, for work that takes many bytes per pixel."""
    height, width = pixels.shape[:2]
    step = max(1, (1 << 20) // width)
    for top in range(0, height, step):
        yield slice(top, top + step)


def look_up(table: NDArray[np.uint8], ids: Ids) -> NDArray[np.uint8]:
    """``table[ids]``, uint8 [H, W], without the eight bytes per pixel that numpy takes for an index."""
    found = np.empty(ids.shape, np.uint8)
    for rows in row_blocks(ids):
        found[rows] = table[ids[rows]]
    return found


@lru_cache(maxsize=4)
def _color_table(colors: tuple[tuple[int, int], ...]) -> NDArray[np.uint16]:
    # 32 MiB, made once per process: looking a color up is then one gather.
    table = np.full(1 << 24, UNKNOWN_COLOR, np.uint16)
    for color, raw in colors:
        table[color] = raw
    return table


def image_size(path: Path | str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of a picture from its header, without decoding it.

    Raises:
        InputError: As ``read_image``, as far as the header tells.
    """
    return file_header(Path(path), max_pixels).size


def verify(path: Path | str, max_pixels: int = MAX_PIXELS) -> None:
    """Check that a picture can be read: a PNG by its checksums, a JPEG, which has none, by decoding it.

    Raises:
        InputError: As ``read_image``.
    """
    path = Path(path)
    data = read_bytes(path, max_pixels)
    header = read_header(data, path, max_pixels, whole=True)
    if header.kind == "png":
        plain_png(data, path, header, indices=True)
    else:
        _decode(data, cv2.IMREAD_COLOR, header, path)


def label_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) of a label from its header.

    Raises:
        InputError: As ``read_ids``, as far as the header tells.
    """
    header = file_header(path, max_pixels)
    _check_label(header, path)
    return header.size


def _read_label(path: Path, max_pixels: int, *, colors: bool = False) -> Ids:
    """Pixels of a label as stored: [H, W], or [H, W, 3 or 4] in the order blue, green, red."""
    data = read_bytes(path, max_pixels)
    header = read_header(data, path, max_pixels, whole=True)
    _check_label(header, path)
    plain = plain_png(data, path, header, indices=not colors)
    if colors:
        return _decode(plain, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, header, path)
    pixels = _decode(plain, cv2.IMREAD_UNCHANGED, header, path)
    if header.depth < 8 and header.color in (GRAY, PALETTE):
        # The decoder spreads 1, 2 and 4 bits over 0..255; ids are the stored values.
        pixels = pixels // np.uint8(255 // (2**header.depth - 1))
    return pixels


def _check_label(header: Header, path: Path) -> None:
    if header.kind != "png":
        raise InputError(
            f"{path} is a JPEG, whose compression changes label ids: labels have to be PNG files."
        )
    # Programs that write labels copy the note of the image whether they have turned the ids or not.
    if header.orientation != 1:
        raise InputError(
            f"{path} notes an EXIF orientation ({header.orientation}), and whether its ids are turned already cannot "
            "be told: save the label as it has to lie upon the image, without the note."
        )


def _decode_rgb(png: bytes, header: Header, path: Path) -> NDArray[np.uint8]:
    """Pixels of a plain PNG of three channels of 8 bits, the usual photograph; libspng is faster than OpenCV."""
    try:
        pixels: NDArray[np.uint8] = imagecodecs.spng_decode(png)
    except imagecodecs.SpngError as error:
        raise InputError(f"{path} is damaged: its pixels cannot be decoded; fetch it again.") from error
    if pixels.shape != (header.height, header.width, 3):
        raise InputError(f"{path} is damaged: its pixels cannot be decoded; fetch it again.")
    return pixels


def _decode(data: bytes, flags: int, header: Header, path: Path) -> Ids:
    try:
        pixels: Ids | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise InputError(f"{path} cannot be decoded ({error.err}); fetch it again.") from error
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise InputError(f"{path} is damaged: its pixels cannot be decoded; fetch it again.")
    return pixels


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(
        orientation, (1, 1)
    )
    return np.ascontiguousarray(image[::rows, ::columns])
