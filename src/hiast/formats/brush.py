"""Run lengths as Label Studio stores brush strokes.

The mask becomes a picture of four equal channels, 0 or 255, whose values are packed into bits (source: the packing
rle-pack that Label Studio uses). A head names the number of values (32 bits), the bits of a value less 1 (5 bits)
and four widths less 1 (4 bits each). Then follow records: one bit says whether a value is repeated, two bits choose
a width, that many bits hold the number of values less 1, and then comes the value, or that many values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hiast.errors import InputError
from hiast.formats.items import Size

_CHANNELS = 4
_VALUE_BITS = 8
_WIDTHS = (3, 4, 8, 16)
_LONGEST = 1 << _WIDTHS[-1]


def encode(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Packed bytes uint8 [N] of a mask bool [H, W].

    Raises:
        InputError: The mask has a thousand million pixels or more.
    """
    flat = mask.ravel()
    if flat.size * _CHANNELS >= 1 << 32:
        raise InputError(f"A mask of {mask.shape[1]} x {mask.shape[0]} pixels is too large for Label Studio.")
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    values = flat[starts].astype(np.int64) * 255
    records = -(-lengths // _LONGEST)
    values = np.repeat(values, records)
    last = lengths - (records - 1) * _LONGEST
    lengths = np.full(int(records.sum()), _LONGEST, np.int64)
    lengths[np.cumsum(records) - 1] = last
    bits = np.concatenate([_head(flat.size * _CHANNELS), _records(lengths, values)])
    # The tool's own packing ends with at least one bit of zero.
    return np.packbits(np.append(bits, np.zeros(8 - bits.size % 8, np.uint8)))


def _head(values: int) -> NDArray[np.uint8]:
    text = f"{values:032b}{_VALUE_BITS - 1:05b}" + "".join(f"{width - 1:04b}" for width in _WIDTHS)
    return np.array([int(bit) for bit in text], np.uint8)


def _records(lengths: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.uint8]:
    choice = np.searchsorted([1 << width for width in _WIDTHS], lengths)
    width = np.array(_WIDTHS)[choice]
    number = ((4 + choice) << width | lengths - 1) << _VALUE_BITS | values
    size = 3 + width + _VALUE_BITS
    place = np.arange(3 + _WIDTHS[-1] + _VALUE_BITS)
    shift = size[:, None] - 1 - place
    bits = (number[:, None] >> np.maximum(shift, 0) & 1).astype(np.uint8)
    used: NDArray[np.uint8] = bits[shift >= 0]
    return used


def decode(packed: NDArray[np.uint8], size: Size, where: object) -> NDArray[np.bool_]:
    """Mask bool [H, W] of packed bytes uint8 [N]: the pixels whose fourth channel is not 0.

    Raises:
        InputError: The bytes are damaged or belong to a picture of another size; the message names ``where``.
    """
    expected = size[0] * size[1] * _CHANNELS
    reader = _Bits(packed)
    flat = np.zeros(expected, np.bool_)
    try:
        total, value_bits = reader.take(32), reader.take(5) + 1
        if total != expected or value_bits > 32:
            raise InputError(
                f"{where}: a brush stroke does not fit the size {size[1]} x {size[0]} of its image."
            )
        widths = [reader.take(4) + 1 for _ in range(4)]
        done = 0
        while done < total:
            repeated = reader.take(1)
            end = done + 1 + reader.take(widths[reader.take(2)])
            if end > total:
                raise InputError(f"{where}: a brush stroke is damaged.")
            if repeated:
                flat[done:end] = reader.take(value_bits) != 0
            else:
                flat[done:end] = [reader.take(value_bits) != 0 for _ in range(end - done)]
            done = end
    except IndexError as error:
        raise InputError(f"{where}: a brush stroke is cut off.") from error
    return np.ascontiguousarray(flat.reshape(*size, _CHANNELS)[..., 3])


class _Bits:
    """Takes numbers of up to 32 bits from bytes."""

    def __init__(self, packed: NDArray[np.uint8]) -> None:
        padded = np.append(packed, np.zeros(8, np.uint8)).astype(np.uint64)
        # Forty bits from each byte on, so that a number is one shift away wherever it starts.
        windows = np.zeros(packed.size, np.uint64)
        for byte in range(5):
            windows = windows << np.uint64(8) | padded[byte : packed.size + byte]
        self._windows: list[int] = windows.tolist()
        self._position = 0
        self._end = packed.size * 8

    def take(self, bits: int) -> int:
        """The next ``bits`` bits as a number.

        Raises:
            IndexError: There are not as many.
        """
        position = self._position
        self._position = position + bits
        if self._position > self._end:
            raise IndexError(position)
        return self._windows[position >> 3] >> (40 - (position & 7) - bits) & ((1 << bits) - 1)
