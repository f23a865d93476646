"""What label files hold: every id or color, with its pixels, and a piece of the images where there is most of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from hiast.data.checks.label_ids import count_ids
from hiast.data.io.images import MAX_PIXELS, ImageReader, ValueRangeError
from hiast.data.io.label_colors import ColorIds
from hiast.data.io.labels import MINUS_ONE, Decode, Ids, read_first_channel, read_ids
from hiast.data.io.palettes import palette_colors
from hiast.errors import InputError
from hiast.inspection.codings import Palettes, id_colors, is_small_id, two_codings

Value = int | str
"""An id, or a color as "red,green,blue"."""

Kind = Literal["ids", "colors", "first_channel", "threshold", "annotations"]
"""How labels can be coded: see the keys of a dataset file; "annotations" are those of another program."""

MAX_VALUES = 256
"""Values that a table lists; a folder of more holds no label maps."""
_NAMED = 64
"""More values than classes have: edges are smoothed, or channels hold several numbers."""
_EXTREME = 0.9
"""Share of pixels near black or white from which on a gray picture is a soft mask of two classes."""


@dataclass
class ValueCount:
    """One value in the labels of a dataset.

    Attributes:
        pixels: Pixels that hold it.
        images: Label files that hold it.
        example: The file that holds most of it: a label or its image, as the table was filled.
        most: Pixels of it there.
    """

    pixels: int = 0
    images: int = 0
    example: Path | None = None
    most: int = 0


@dataclass
class ValueTable:
    """All values in the labels of a dataset.

    Attributes:
        colors: Whether the values are colors.
        values: Value -> what was found.
        total: Pixels of all labels.
    """

    colors: bool = False
    values: dict[Value, ValueCount] = field(default_factory=dict)
    total: int = 0

    def add(self, file: Path, counts: Mapping[Value, int]) -> None:
        """Add the values of one label, which is named by one of its files."""
        for value, pixels in counts.items():
            found = self.values.setdefault(value, ValueCount())
            found.pixels += pixels
            found.images += 1
            self.total += pixels
            if pixels > found.most:
                found.example, found.most = file, pixels

    def share(self, value: Value) -> float:
        """Share of the pixels that hold a value, 0 to 1."""
        return self.values[value].pixels / max(1, self.total)

    @property
    def frequent(self) -> list[Value]:
        """The values in a fixed order: ids by number, colors by how often they occur; ``MAX_VALUES`` at most."""
        if self.colors:
            order = sorted(self.values, key=lambda value: (-self.values[value].pixels, value))
            return order[:MAX_VALUES]
        return sorted(self.values, key=lambda value: (-1 if value == MINUS_ONE else 0, value))[:MAX_VALUES]


def color_values(path: Path, max_pixels: int = MAX_PIXELS) -> dict[Value, int]:
    """Colors of a label file -> pixels.

    Raises:
        InputError: The file cannot be read or holds no colors.
    """
    return cast(dict[Value, int], dict(ColorIds({}).unknown(path, max_pixels)))


def _counted(ids: Ids) -> dict[Value, int]:
    return cast(dict[Value, int], dict(count_ids(ids)))


@dataclass(frozen=True)
class LabelValues:
    """What labels hold.

    Attributes:
        kind: How they are coded.
        table: Their values.
        remark: Why they are read in this way, where that is not obvious.
    """

    kind: Kind
    table: ValueTable
    remark: str | None = None


def look_at_labels(labels: Iterable[Path], max_pixels: int = MAX_PIXELS) -> LabelValues:
    """How labels are coded, and the values that they hold.

    Args:
        labels: Label files.
        max_pixels: Larger labels are refused.

    Raises:
        InputError: A file cannot be read, or holds neither ids nor colors nor a mask, or some hold ids and others
            colors.
    """
    labels = list(labels)
    kind = _kind(labels, max_pixels)
    if kind == "colors":
        return LabelValues(kind, _color_table(labels, max_pixels))
    table, palettes = ValueTable(), Palettes()
    for label in labels:
        if kind == "threshold":
            table.add(label, _counted((gray(label, max_pixels) >= 128).astype(np.uint8)))
            continue
        try:
            ids = _READERS[kind](label, max_pixels)
        except InputError as error:
            _check_one_coding(table, label, max_pixels, error)
            return LabelValues("colors", _color_table(labels, max_pixels))
        counts = count_ids(ids)
        table.add(label, cast(dict[Value, int], dict(counts)))
        if kind == "ids":
            palettes.add(label, palette_colors(label, counts))
    permuted = palettes.permuted()
    if permuted is None:
        return LabelValues(kind, table)
    remark = f"Palettes differ from file to file ({permuted}), so that colors are read, not indices."
    return LabelValues("colors", _color_table(labels, max_pixels), remark)


def _check_one_coding(table: ValueTable, label: Path, max_pixels: int, refused: InputError) -> None:
    """Return if a label that ``read_ids`` refused, and all labels before it, hold colors.

    Raises:
        InputError: Those before it hold ids, or it holds no colors either.
    """
    try:
        color_values(label, max_pixels)
    except InputError:
        raise refused from None
    ids = [value for value in table.values if is_small_id(value)]
    if ids:
        example = table.values[ids[0]].example
        raise InputError(two_codings(label, example or label)) from refused


def _color_table(labels: Iterable[Path], max_pixels: int) -> ValueTable:
    """The colors of labels.

    Raises:
        InputError: Some labels hold ids instead.
    """
    table = ValueTable(colors=True)
    colored: dict[Value, Path] = {}
    ids: dict[str, Path] = {}
    for label in labels:
        found = color_values(label, max_pixels)
        table.add(label, found)
        gray_values = id_colors(found)
        if gray_values:
            ids |= dict.fromkeys(gray_values, label)
        else:
            colored |= dict.fromkeys(found, label)
    strange = [color for color in ids if color not in colored]
    if strange and colored:
        example = next((path for color, path in colored.items() if not _is_gray(color)), None)
        if example is not None:
            raise InputError(two_codings(example, ids[strange[0]]))
    return table


def _is_gray(color: Value) -> bool:
    return len(set(str(color).split(","))) == 1


def gray(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """A mask as gray values uint8 [H, W], whatever its format.

    Raises:
        InputError: The file cannot be read as a picture.
    """
    try:
        pixels = ImageReader().read(path, max_pixels)
    except ValueRangeError:
        pixels = ImageReader(value_range=(0, 65535)).read(path, max_pixels)
    return np.ascontiguousarray(pixels[..., 1])


_READERS: dict[str, Decode] = {"ids": read_ids, "first_channel": read_first_channel}


def _kind(labels: list[Path], max_pixels: int) -> Kind:
    """How labels are coded, by some of them."""
    some = labels[:: max(1, len(labels) // 8)][:8]
    try:
        ids = _distinct(read_ids(label, max_pixels) for label in some)
    except InputError as error:
        return _kind_of_others(some, max_pixels, error)
    return "threshold" if len(ids) > _NAMED and _is_soft(some, max_pixels) else "ids"


def _kind_of_others(some: list[Path], max_pixels: int, refused: InputError) -> Kind:
    try:
        colors: Counter[Value] = Counter()
        for label in some:
            colors.update(color_values(label, max_pixels))
    except InputError:
        # A lossy format: only a mask of two classes can be read from it.
        if _is_soft(some, max_pixels):
            return "threshold"
        raise refused from None
    if len(colors) > _NAMED:
        first = _distinct(read_first_channel(label, max_pixels) for label in some)
        if len(first) <= _NAMED:
            return "first_channel"
    if len(colors) > MAX_VALUES:
        raise InputError(
            f"{some[0]} and others hold {len(colors):,} colors, and label maps hold one for each class: is this the "
            "folder of the labels?"
        )
    return "colors"


def _distinct(labels: Iterable[Ids]) -> set[int]:
    return {int(value) for label in labels for value in np.unique(label)}


def _is_soft(labels: Iterable[Path], max_pixels: int) -> bool:
    """Whether most pixels are nearly black or nearly white, and some of both."""
    dark = bright = total = 0
    for label in labels:
        try:
            pixels = gray(label, max_pixels)
        except InputError:
            return False
        dark += int((pixels < 32).sum())
        bright += int((pixels >= 224).sum())
        total += pixels.size
    return min(dark, bright) > 0 and dark + bright >= _EXTREME * total
