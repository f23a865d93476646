"""Run lengths as COCO stores masks.

A mask is read column by column; the lengths of its runs alternate between background and object, beginning with
background. The compressed form writes them as text (source: COCO API, common/maskApi.c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.formats.items import Size

Counts = NDArray[np.int64]
"""Run lengths int64 [N]."""


def encode(mask: NDArray[np.bool_], size: Size | None = None, top: int = 0, left: int = 0) -> Counts:
    """Run lengths of a mask.

    Args:
        mask: bool [h, w], the object or a part of the picture that holds it.
        size: (height, width) of the whole picture; None: ``mask`` is the whole picture.
        top: Row of the picture that the first row of ``mask`` is.
        left: Column of the picture that the first column of ``mask`` is.

    Returns:
        Run lengths that add up to the number of pixels of the picture.

    Examples:
        >>> encode(np.array([[False, True], [True, True]])).tolist()
        [1, 3]
    """
    height, width = size or (mask.shape[0], mask.shape[1])
    framed = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
    framed[:, 1:-1] = mask.T
    column, row = np.nonzero(np.diff(framed, axis=1))
    edges = (column + left) * height + row + top
    # A run that continues from the bottom of one column at the top of the next ends and starts at the same place.
    starts, ends = edges[0::2], edges[1::2]
    joined = np.zeros(len(starts) + 1, np.bool_)
    joined[1:-1] = starts[1:] == ends[:-1]
    edges = np.stack([starts[~joined[:-1]], ends[~joined[1:]]], axis=1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)
    return counts if counts[-1] else counts[:-1]


def pixels(counts: Counts, size: Size, where: object) -> NDArray[np.int64]:
    """Pixels of the object, int64 [N], counted column by column: ``column * height + row``.

    Raises:
        InputError: The lengths do not add up to the size; the message names ``where``.
    """
    # Their sum may have more bits than a number holds.
    pixels = size[0] * size[1]
    if (counts.size and not 0 <= counts.min() <= counts.max() <= pixels) or counts.sum() != pixels:
        raise InputError(
            f"{where}: the run lengths do not fit the size {size[1]} x {size[0]}; the file is damaged."
        )
    ends = np.cumsum(counts)
    lengths = counts[1::2]
    begin = ends[1::2] - lengths
    # The pixel before the run, less those of all runs before, plus a count over all pixels.
    shift = begin - (np.cumsum(lengths) - lengths)
    return np.repeat(shift, lengths) + np.arange(int(lengths.sum()))


def to_text(counts: Counts) -> str:
    """Run lengths as text.

    From the fourth on, a length is stored as the difference to the one two places before. Each number is cut into
    five bits at a time, lowest first; a sixth bit says that more follow; 48 is added to make it a letter.
    """
    letters = bytearray()
    differences = counts.copy()
    differences[3:] -= counts[1:-2]
    for number in differences.tolist():
        more = True
        while more:
            bits = number & 31
            number >>= 5
            more = number != (-1 if bits & 16 else 0)
            letters.append(48 + bits + 32 * more)
    return letters.decode("ascii")


def from_text(text: str, where: object) -> Counts:
    """Run lengths from text.

    Raises:
        InputError: The text is not of this form; the message names ``where``.
    """
    counts: list[int] = []
    number = shift = 0
    for letter in text.encode("utf-8"):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise InputError(f"{where}: the compressed run lengths are damaged.")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise InputError(f"{where}: the compressed run lengths are cut off.")
    return as_lengths(counts, where)


def as_lengths(counts: Sequence[int], where: object) -> Counts:
    """Run lengths as an array.

    Raises:
        InputError: A number has more than 64 bits.
    """
    try:
        return np.array(counts, np.int64)
    except OverflowError as error:
        raise InputError(f"{where}: the run lengths are damaged.") from error
